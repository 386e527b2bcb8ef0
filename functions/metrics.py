"""What a process counts of its calls, as Prometheus reads it at GET /metrics.

FastAPI's own telemetry (`FastAPI(telemetry=…)`) measures as well, through OpenTelemetry's API, and so only where an
SDK is installed that takes it; this needs none. Counters begin anew with each process, as Prometheus expects.
docs/operations/metrics.md lists every name.
"""

from __future__ import annotations

import contextlib
import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

from eventing.exposition import family, head

# Seconds, from a cached answer to what only a card processor takes.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A caller could make a series of each name that it invents. gRPC is all POST, and has codes of its own.
_METHODS = frozenset({"DELETE", "GET", "GRPC", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

Measure: TypeAlias = Callable[[], Awaitable[Iterable[str]]]


class Metrics:
    """The counters of one process."""

    def __init__(self, function: str) -> None:
        self.function = function
        self.left = 0
        self.published = 0
        #: Seconds from the start of the process until it took calls; None before.
        self.startup_seconds: float | None = None
        self._measures: list[Measure] = []
        self._requests: Counter[tuple[str, int | str]] = Counter()
        self._lookups: Counter[str] = Counter(hit=0, miss=0, away=0)
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._cold = 0

    def note(self, method: str, status: int | str, seconds: float | None, *, cold: bool, cache: str | None) -> None:
        """Count one call.

        *seconds* is None for a stream, which lasts as long as its caller likes; *cache* is what its look into the cache
        came to: hit, miss, away, or None without one.
        """
        self._requests[method if method in _METHODS else "other", status] += 1
        if seconds is not None:
            self._buckets[bisect_left(BOUNDS, seconds)] += 1
            self._seconds += seconds
        self._cold += cold
        if cache is not None:
            self._lookups[cache] += 1

    def ready(self, now: float) -> None:
        """Calls are taken from now on."""
        self.startup_seconds = now - process_started()

    def measures(self, measure: Measure) -> Measure:
        """Ask this for its lines at each scrape: of what is found out only when somebody asks."""
        self._measures.append(measure)
        return measure

    @contextlib.contextmanager
    def measuring(self, measure: Measure) -> Iterator[None]:
        """Ask this too, as long as what it measures is there."""
        self._measures.append(measure)
        try:
            yield
        finally:
            self._measures.remove(measure)

    async def text(self) -> str:
        """All of them."""
        lines = list(self._lines())
        for measure in self._measures:
            lines += await measure()
        return "\n".join(lines) + "\n"

    def _lines(self) -> Iterator[str]:
        me = {"function": self.function}
        yield from family(
            "wake_requests_total",
            "counter",
            "Calls that were answered.",
            (
                ({**me, "method": method, "status": str(status)}, count)
                for (method, status), count in sorted(self._requests.items(), key=str)
            ),
        )
        yield from self._durations()
        yield from family(
            "wake_cold_starts_total", "counter", "Calls that a process had to be started for.", [(me, self._cold)]
        )
        yield from family(
            "wake_cache_lookups_total",
            "counter",
            "Looks into the cache: a copy, none, or no answer.",
            (({**me, "result": result}, count) for result, count in sorted(self._lookups.items())),
        )
        yield from family(
            "wake_events_total",
            "counter",
            "Events of this process's transactions: published at once, or left in the outbox.",
            [({**me, "what": "published"}, self.published), ({**me, "what": "left"}, self.left)],
        )
        yield from self._process(me)

    def _durations(self) -> Iterator[str]:
        me, name = f'function="{self.function}"', "wake_request_duration_seconds"
        yield from head(name, "histogram", "From the arrival of a call to the end of its answer.")
        *counts, total = accumulate(self._buckets)
        for bound, count in zip(BOUNDS, counts, strict=True):
            yield f'{name}_bucket{{{me},le="{bound}"}} {count}'
        yield f'{name}_bucket{{{me},le="+Inf"}} {total}'
        yield f"{name}_sum{{{me}}} {self._seconds:.6f}"
        yield f"{name}_count{{{me}}} {total}"

    def _process(self, me: dict[str, str]) -> Iterator[str]:
        if self.startup_seconds is not None:
            text = "From the start of the process until it took calls."
            yield from family("wake_startup_seconds", "gauge", text, [(me, round(self.startup_seconds, 3))])
        # The names that Prometheus' own clients have for these.
        text = "User and system time of the process."
        yield from family("process_cpu_seconds_total", "counter", text, [(me, round(time.process_time(), 3))])
        text = "When the process was started, since 1970."
        yield from family("process_start_time_seconds", "gauge", text, [(me, round(process_started(), 2))])
        text = "Memory that the process holds."
        yield from family("process_resident_memory_bytes", "gauge", text, [(me, _resident_bytes())])


def process_started() -> float:
    """When this process was started, in seconds since 1970 (proc_pid_stat(5), field 22); without a /proc, now."""
    with contextlib.suppress(OSError):
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return time.time() - age
    return time.time()


def _resident_bytes() -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
