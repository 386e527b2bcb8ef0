"""Starts what a cluster would from an image's root, in the order in which a cluster would, and says when it serves."""

from __future__ import annotations

import contextlib
import http.client
import time
from dataclasses import dataclass
from pathlib import Path

from knative.runtime import child
from tests.ship.image.cluster import BROKER, Cluster, Program
from tests.ship.image.running import Running, Way, confine
from tests.ship.image.store import Image

_JOB_SECONDS = 60.0
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class ShopFailed(Exception):
    """Something did not start, or did not end, as on a cluster it has to; the message has its last words."""


@dataclass(frozen=True)
class Shop:
    """An installation whose every program is of one image."""

    image: Image
    way: Way
    cluster: Cluster
    folder: Path

    def migrate(self) -> list[str]:
        """Run every Job to its end; answers the commands that they ran."""
        jobs = self.cluster.jobs()
        in_turn = [one for programs in jobs.values() for one in programs]
        for one in in_turn:
            self.run(one)
        return sorted({one.command[0] for one in in_turn})

    def run(self, program: Program) -> str:
        """Run a program to its end; answers what it said.

        Raises:
            ShopFailed: it failed.
        """
        running = self.way.start(program.name, program.command, program.variables)
        code = running.ended(_JOB_SECONDS)
        if code != 0:
            raise ShopFailed(f"{program.name}: exit {code}: {child.last_line(running.log)}")
        return running.log.read_text()

    def start(self, *names: str) -> dict[str, Running]:
        """Start some that serve, all at once, and wait until each is ready, by its own probe.

        Raises:
            ShopFailed: one is not, within a minute.
            NotConfined: one has more rights than it is to have.
        """
        programs = {name: self.cluster.deployments()[name] for name in names}
        running = {
            name: self.way.start(name, one.command, one.variables, self._files(name)) for name, one in programs.items()
        }
        deadline = time.monotonic() + _START_SECONDS
        for name, one in running.items():
            while not _is_ready(programs[name]):
                if one.process.poll() is not None or time.monotonic() > deadline:
                    raise ShopFailed(f"{name} does not serve: {child.last_line(one.log)}")
                time.sleep(0.02)
            confine(one, self.image, self.way)
        return running

    def _files(self, name: str) -> Path | None:
        """The ConfigMap that the Broker's pod has as a folder."""
        if name != BROKER:
            return None
        folder = self.folder / "triggers"
        folder.mkdir()
        (folder / "broker.yaml").write_text(self.cluster.triggers())
        return folder

    def stop(self, *running: Running) -> None:
        """Have them end as a kubelet does.

        Raises:
            ShopFailed: one did not, or with an error.
        """
        for one in running:
            one.terminate()
        for one in running:
            code = one.ended(_STOP_SECONDS)
            if code != 0:
                raise ShopFailed(f"{one.name} ended with {code}: {child.last_line(one.log)}")

    def url(self, name: str) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.cluster.deployments()[name].port}"


def _is_ready(program: Program) -> bool:
    if program.ready is None:
        return child.accepts("127.0.0.1", program.port)
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", program.ready)
        return connection.getresponse().status == 200
    return False
