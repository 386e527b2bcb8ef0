"""A program that runs in an image's root, and what every way to run one has to do."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from knative.runtime import child
from tests.ship.image.store import Image

_PATIENCE_SECONDS = 30.0


class NotConfined(Exception):
    """A process has more rights than it is to have; the message says which."""


@dataclass(frozen=True)
class Running:
    """A program that runs in the root; *pid* is what we call its PID 1."""

    name: str
    process: subprocess.Popen[bytes]
    pid: int
    log: Path

    def terminate(self) -> None:
        """Tell PID 1 to end, as a kubelet does."""
        os.kill(self.pid, signal.SIGTERM)

    def ended(self, seconds: float) -> int:
        """Its exit code.

        Raises:
            TimeoutExpired: it is not over by then.
        """
        return self.process.wait(seconds)


class Way(Protocol):
    """How programs are run, as strictly as on a cluster; the network is the caller's.

    Each is PID 1 of a namespace of its own and the image's user, has no capability and gains none, and sees a read-only
    root with a /tmp in memory.
    """

    words: str
    # Whether only the system calls that containers may make are let through (RuntimeDefault).
    filters_calls: bool

    def start(
        self, name: str, command: Sequence[str], variables: Mapping[str, str], files: Path | None = None
    ) -> Running:
        """Start a program that has the image's variables and these; *files* is a folder to find at /etc/wake."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


def confine(running: Running, image: Image, way: Way) -> None:
    """See in /proc that a running program has no more rights than it is to have.

    Raises:
        NotConfined: it has.
    """
    lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    uid, gid = image.user
    expected = {
        "NSpid": f"{running.pid}\t1",
        "Uid": "\t".join([str(uid)] * 4),
        "Gid": "\t".join([str(gid)] * 4),
        "NoNewPrivs": "1",
        # 2 is a filter (proc(5)).
        "Seccomp": "2" if way.filters_calls else "0",
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16),
    }
    wrong = [f"{name} is {status[name]}, not {value}" for name, value in expected.items() if status[name] != value]
    if wrong:
        raise NotConfined(f"{running.name}: {'; '.join(wrong)}")


def soon(find: Callable[[], int | None], process: subprocess.Popen[bytes], log: Path) -> int:
    """The number that *find* answers in the end.

    Raises:
        StartFailed: the process ended first, or half a minute is over.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := find()) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise child.StartFailed(f"it did not start: {child.last_line(log)}")
        time.sleep(0.005)
    return found
