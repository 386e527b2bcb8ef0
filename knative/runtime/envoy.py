"""Envoy as a child process: the gateway, started with a configuration and asked what it counted."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from knative.runtime import child, programs

_COUNTER = re.compile(r"^cluster\.(?P<cluster>.+)\.upstream_rq_(?P<what>active|pending_active|total)$")
_PLACE = re.compile(r"^(?P<cluster>[^:]+)::127\.0\.0\.1:(?P<port>\d+)::rq_active::")
# What it says as it aborts (source/common/filesystem/inotify/watcher_impl.cc).
_NO_INOTIFY = b"assert failure: inotify_fd_ >= 0"
_CLUSTER = re.compile(r"^(?P<cluster>[^:]+)::observability_name::")


@dataclass(frozen=True)
class Count:
    """Requests to one cluster: under way or waiting now, and since Envoy started."""

    active: int
    total: int


@dataclass(frozen=True)
class Envoy:
    """A running Envoy and the socket of its admin interface."""

    process: subprocess.Popen[bytes]
    admin: Path
    log: Path
    # How long its log was before it started.
    log_bytes_before: int = 0

    def counts(self) -> Mapping[str, Count]:
        """What was counted, by cluster.

        Raises:
            OSError: Envoy does not answer.
        """
        stats = json.loads(self._get(r"/stats?format=json&usedonly&filter=upstream_rq_(active|pending_active|total)$"))[
            "stats"
        ]
        counted: dict[str, dict[str, int]] = {}
        for stat in stats:
            if (found := _COUNTER.match(stat.get("name", ""))) is not None:
                counted.setdefault(found["cluster"], {})[found["what"]] = int(stat["value"])
        return {
            name: Count(one.get("active", 0) + one.get("pending_active", 0), one.get("total", 0))
            for name, one in counted.items()
        }

    def places(self) -> Mapping[str, frozenset[int]]:
        """The ports of each cluster's endpoints, as Envoy has them now.

        Raises:
            OSError: Envoy does not answer.
        """
        lines = self._get("/clusters").decode().splitlines()
        found: dict[str, set[int]] = {one["cluster"]: set() for one in map(_CLUSTER.match, lines) if one is not None}
        for one in map(_PLACE.match, lines):
            if one is not None:
                found.setdefault(one["cluster"], set()).add(int(one["port"]))
        return {name: frozenset(ports) for name, ports in found.items()}

    def set_queue(self, cluster: str, length: int) -> None:
        """How many requests may wait for a cluster's replicas."""
        key = quote(f"circuit_breakers.{cluster}.default.max_pending_requests", safe="")
        with contextlib.suppress(OSError):
            self._get(f"/runtime_modify?{key}={length}", method="POST")

    def _get(self, path: str, method: str = "GET") -> bytes:
        connection = _UnixConnection(self.admin)
        try:
            connection.request(method, path)
            return connection.getresponse().read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"Envoy's admin interface answered nonsense: {error}") from error
        finally:
            connection.close()

    def wait_until_ready(self) -> None:
        """Wait until it serves with its configuration.

        Raises:
            StartFailed: it refused its configuration, in its own words, or took longer than half a minute.
        """
        try:
            child.wait_until(self._is_live, self.process, self.log, seconds=30)
        except child.StartFailed as error:
            if _NO_INOTIFY in self.log.read_bytes()[self.log_bytes_before :]:
                raise child.StartFailed(_too_few_watches(self.log)) from error
            raise

    def _is_live(self) -> bool:
        try:
            return self._get("/ready").strip() == b"LIVE"
        except OSError:
            return False

    def stop(self) -> None:
        """Stop at once: by then the functions are drained."""
        child.stop(self.process, patience_seconds=1.0)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=2)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def start(configuration: Mapping[str, Any], folder: Path, admin: Path, log: Path) -> Envoy:
    """Start Envoy.

    Raises:
        StartFailed: it is not installed.
    """
    file = folder / "envoy.json"
    file.write_text(json.dumps(configuration, indent=1))
    admin.unlink(missing_ok=True)
    log_bytes_before = log.stat().st_size if log.exists() else 0
    process = child.start(
        # One worker, or a limit of connections would be each worker's own. Without hot restart it has no shared memory,
        # which a kill -9 would leave behind and two on one machine could get in each other's way over.
        [
            programs.find("envoy"),
            "-c",
            str(file),
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--concurrency",
            "1",
        ],
        log=log,
    )
    return Envoy(process, admin, log, log_bytes_before)


def _too_few_watches(log: Path) -> str:
    """Envoy follows each revision's endpoints with an inotify instance of its own, and aborts where it gets none."""
    return (
        "Envoy got too few inotify instances: it needs one for each function, and all that one user runs on this "
        "machine share fs.inotify.max_user_instances: stop another Wake, or allow more with "
        f"`sudo sysctl fs.inotify.max_user_instances=1024` (Envoy's own words are in {log})"
    )
