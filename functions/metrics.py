"""What a process counts of its calls, in Prometheus' text format (version 0.0.4), at GET /metrics.

FastAPI's own telemetry (`FastAPI(telemetry=…)`) measures as well, through OpenTelemetry's API, and so only where an
SDK is installed that takes it; this needs none. Counters begin anew with each process, as Prometheus expects.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds, from a cached answer to what only a card processor takes.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A caller could make a series of each name that it invents.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Metrics:
    """The counters of one process."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._requests: Counter[tuple[str, int]] = Counter()
        self._lookups: Counter[str] = Counter(hit=0, miss=0, away=0)
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._cold = 0

    def note(self, method: str, status: int, seconds: float, *, cold: bool, cache: str | None) -> None:
        """Count one call; *cache* is what its look into the cache came to: hit, miss, away, or None without one."""
        self._requests[method if method in _METHODS else "other", status] += 1
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
        self._cold += cold
        if cache is not None:
            self._lookups[cache] += 1

    def text(self) -> str:
        """All of them."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        me = f'function="{self._function}"'
        yield from _head("wake_requests_total", "counter", "Calls that were answered.")
        for (method, status), count in sorted(self._requests.items()):
            yield f'wake_requests_total{{{me},method="{method}",status="{status}"}} {count}'
        name = "wake_request_duration_seconds"
        yield from _head(name, "histogram", "From the arrival of a call to the end of its answer.")
        *counts, total = accumulate(self._buckets)
        for bound, count in zip(BOUNDS, counts, strict=True):
            yield f'{name}_bucket{{{me},le="{bound}"}} {count}'
        yield f'{name}_bucket{{{me},le="+Inf"}} {total}'
        yield f"{name}_sum{{{me}}} {self._seconds:.6f}"
        yield f"{name}_count{{{me}}} {total}"
        yield from _head("wake_cold_starts_total", "counter", "Calls that a process had to be started for.")
        yield f"wake_cold_starts_total{{{me}}} {self._cold}"
        yield from _head("wake_cache_lookups_total", "counter", "Looks into the cache: a copy, none, or no answer.")
        for result, count in sorted(self._lookups.items()):
            yield f'wake_cache_lookups_total{{{me},result="{result}"}} {count}'
        # The name that Prometheus' own clients have for it.
        yield from _head("process_cpu_seconds_total", "counter", "User and system time of the process.")
        yield f"process_cpu_seconds_total{{{me}}} {time.process_time():.3f}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
