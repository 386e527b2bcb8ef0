"""The state folder (`.wake/`): what survives a restart, what tells other commands that Wake runs, and its lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

# A Unix socket's path may have at most 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_BYTES_MAX = 103
_LOG_BYTES_MAX = 8 * 1024 * 1024


class AlreadyRunning(Exception):
    """Another runtime holds this state folder."""


class State:
    """Paths inside the state folder, and the few small files that say what runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.logs = self.folder / "logs"
        self.run = self.folder / "run"
        self.status_file = self.run / "status.json"
        self.journal = self.folder / "events.jsonl"
        self.secrets = self.folder / "secrets.json"
        self._lock: TextIO | None = None
        self._elsewhere: list[Path] = []

    def open(self) -> bool:
        """Create what is missing and take the lock; answers whether the last runtime here ended without stopping.

        Raises:
            AlreadyRunning: with a sentence that names the other one and says what to do.
            OSError: the folder cannot be written.
        """
        for folder in (self.folder, self.logs, self.run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (self.folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            status = self.status()
            at = f" (pid {status['pid']}, {status['url']})" if status else ""
            raise AlreadyRunning(
                f"Wake already runs on {self.folder}{at}: stop it with `wake down`, "
                "or give the second one its own WAKE_STATE, WAKE_PORT and WAKE_BROKER_PORT"
            ) from None
        self._lock = lock
        crashed = self.status_file.exists()
        if crashed:
            self._end_leftovers()
        return crashed

    def close(self) -> None:
        """Say that nothing runs here, and give the lock back."""
        self.status_file.unlink(missing_ok=True)
        for folder in self._elsewhere:
            shutil.rmtree(folder, ignore_errors=True)
        self._elsewhere.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def log(self, name: str) -> Path:
        """Where a part or function writes its output; a long one is set aside first, once."""
        path = self.logs / f"{name}.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _LOG_BYTES_MAX:
                path.replace(path.with_suffix(".log.1"))
        return path

    def socket(self, name: str) -> Path:
        """A path for a Unix socket: in the state folder or, if that is too long, in a temporary one until `close`."""
        path = self.run / name
        if len(os.fsencode(path)) > _SOCKET_PATH_BYTES_MAX:
            self._elsewhere.append(Path(tempfile.mkdtemp(prefix="wake-")))
            path = self._elsewhere[-1] / name
        return path

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace the file that `wake ps` and the others read, whole."""
        self.write(self.status_file, json.dumps(status, indent=1))

    def status(self) -> dict[str, Any] | None:
        """What the running runtime last wrote; None when none runs here."""
        try:
            status: dict[str, Any] = json.loads(self.status_file.read_text())
        except (OSError, ValueError):
            return None
        return status if _lives(status["pid"], status["started"]) else None

    @staticmethod
    def write(path: Path, text: str) -> None:
        """Write a file, readable by its owner only, so that a reader sees the old text or the new, never a part."""
        unfinished = path.with_name(path.name + ".unfinished")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(text)
        unfinished.replace(path)

    def _end_leftovers(self) -> None:
        """Kill what a killed runtime left behind. On Linux the kernel did so already; elsewhere this is the way."""
        try:
            parts: dict[str, int] = json.loads(self.status_file.read_text())["parts"]
        except (OSError, ValueError, KeyError):
            return
        killed = []
        for pid in parts.values():
            # Every part leads a session of its own; a stranger that was given its number since hardly does.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == pid:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
        deadline = time.monotonic() + 5
        while any(runs(pid) for pid in killed) and time.monotonic() < deadline:
            time.sleep(0.01)


def process_started(pid: int) -> str:
    """What tells one process of a number from a later one of the same number; empty where it cannot be known."""
    try:
        # Field 22 of /proc/PID/stat, counted after the command's name, which may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _lives(pid: int, started: str) -> bool:
    return runs(pid) and process_started(pid) == started


def runs(pid: int) -> bool:
    """Whether a process of this number runs; one that is dead and only not waited for (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
