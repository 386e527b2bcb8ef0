"""Runs a program of an image's root as a container of an OCI runtime, runc or crun."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from knative.runtime import child
from tests.ship.image import seccomp
from tests.ship.image.running import Running, soon
from tests.ship.image.store import Image

# Memory that everybody may write to is one more place to hide; nothing of ours needs it.
_WITHOUT = {"/dev/shm", "/dev/mqueue"}
_TMP = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}
_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


class Containers:
    """A way to run what is in an image's root."""

    def __init__(self, image: Image, folder: Path, runtime: str) -> None:
        self.filters_calls = seccomp.profile() is not None
        self.words = f"as containers of {runtime}" + (", with the usual system calls" if self.filters_calls else "")
        self._image, self._folder, self._runtime = image, folder, runtime
        self._started: dict[str, Running] = {}

    def start(
        self, name: str, command: Sequence[str], variables: Mapping[str, str], files: Path | None = None
    ) -> Running:
        """Start it."""
        bundle = self._folder / name
        bundle.mkdir()
        subprocess.run([self._runtime, "spec", "--bundle", str(bundle)], check=True, capture_output=True)
        configuration = bundle / "config.json"
        body = self._specification(json.loads(configuration.read_text()), command, variables)
        if files is not None:
            bound = {"destination": "/etc/wake", "type": "bind", "source": str(files), "options": ["rbind", "ro"]}
            body["mounts"].append(bound)
        configuration.write_text(json.dumps(body))
        log, pid_file = self._folder / f"{name}.log", bundle / "pid"
        process = child.start(self._command("run", "--bundle", str(bundle), "--pid-file", str(pid_file), name), log=log)
        # Before anything may fail: a container outlives its runtime's process.
        self._started[name] = Running(name, process, 0, log)
        self._started[name] = Running(name, process, soon(lambda: _written(pid_file), process, log), log)
        return self._started[name]

    def _specification(
        self, body: dict[str, Any], command: Sequence[str], variables: Mapping[str, str]
    ) -> dict[str, Any]:
        """What the runtime proposes (OCI runtime specification), as strict as a cluster's restricted pods."""
        uid, gid = self._image.user
        body["root"] = {"path": str(self._image.root), "readonly": True}
        body["process"] |= {
            "terminal": False,
            "user": {"uid": uid, "gid": gid},
            "args": list(command),
            "cwd": self._image.folder,
            "env": [f"{key}={value}" for key, value in {**self._image.environment, **variables}.items()],
            "capabilities": {one: [] for one in _SETS},
            "noNewPrivileges": True,
        }
        body["mounts"] = [one for one in body["mounts"] if one["destination"] not in _WITHOUT] + [_TMP]
        body["linux"]["namespaces"] = [one for one in body["linux"]["namespaces"] if one["type"] != "network"]
        if (allowed := seccomp.profile()) is not None:
            body["linux"]["seccomp"] = allowed
        return body

    def _command(self, *words: str) -> list[str]:
        return [self._runtime, "--root", str(self._folder / f"{self._runtime}-state"), *words]

    def close(self) -> None:
        """End what still runs."""
        for name, one in self._started.items():
            subprocess.run(self._command("delete", "--force", name), check=False, capture_output=True)
            child.stop(one.process, number=signal.SIGKILL)


def _written(file: Path) -> int | None:
    """The number that a file holds, once it is whole."""
    text = file.read_text() if file.exists() else ""
    return int(text) if text.strip().isdigit() else None
