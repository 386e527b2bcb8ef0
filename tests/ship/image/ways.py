"""Two ways to run what is in an image's root, both as on a cluster: PID 1 of a namespace of its own, the image's user, no
capability, no new privileges, a root that is read-only, a /tmp in memory.

The network is the caller's. A container also has the system calls that containers may make (RuntimeDefault).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from knative.runtime import child
from tests.ship.image import seccomp
from tests.ship.image.store import Image

_PATIENCE_SECONDS = 30.0
_RUNTIMES = ("runc", "crun")
# Memory that everybody may write to is one more place to hide; nothing of ours needs it.
_WITHOUT = {"/dev/shm", "/dev/mqueue"}  # noqa: S108 - the names of mounts.
_TMP = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}  # noqa: S108
_DEVICES = "null zero full random urandom"
_ENTER = f"""
set -eu
chroot=$1 root=$2 files=$3 user=$4 group=$5 folder=$6
shift 6
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,noexec,mode=755 dev "$root/dev"
for device in {_DEVICES}; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount -o remount,ro "$root/dev"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmp "$root/tmp"
if [ -n "$files" ]; then mkdir -p "$root/etc/wake"; mount --bind "$files" "$root/etc/wake"; fi
mount -o remount,bind,ro "$root"
exec "$chroot" "$root" /usr/bin/env --chdir="$folder" /usr/bin/setpriv --reuid="$user" --regid="$group" --clear-groups \\
    --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""


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
    """How programs are run."""

    words: str

    def start(
        self, name: str, command: Sequence[str], variables: Mapping[str, str], files: Path | None = None
    ) -> Running:
        """Start a program that has the image's variables and these; *files* is a folder to find at /etc/wake."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


class Chroot:
    """Namespaces and a chroot: where containers cannot run."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.words = "in a chroot with namespaces of its own"
        self._image, self._folder = image, folder
        self._started: list[Running] = []

    def start(
        self, name: str, command: Sequence[str], variables: Mapping[str, str], files: Path | None = None
    ) -> Running:
        log = self._folder / f"{name}.log"
        uid, gid = self._image.user
        root = str(self._image.root)
        inner = [_path("chroot"), root, str(files or ""), str(uid), str(gid), _folder(self._image)]
        process = child.start(
            [
                *(_path("unshare"), "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"),
                *("--ipc", "--uts", "/bin/sh", "-c", _ENTER, "enter", *inner, *command),
            ],
            log=log,
            environment={**self._image.environment, **variables},
        )
        running = Running(name, process, _soon(lambda: _only_child(process.pid), process, log), log)
        self._started.append(running)
        return running

    def close(self) -> None:
        for one in self._started:
            child.stop(one.process, number=signal.SIGKILL)


class Containers:
    """Containers of an OCI runtime, `runc` or `crun`."""

    def __init__(self, image: Image, folder: Path, runtime: str) -> None:
        self.words = f"as containers of {runtime}"
        self._image, self._folder, self._runtime = image, folder, runtime
        self._started: dict[str, Running] = {}

    def start(
        self, name: str, command: Sequence[str], variables: Mapping[str, str], files: Path | None = None
    ) -> Running:
        bundle = self._folder / name
        bundle.mkdir()
        subprocess.run([self._runtime, "spec", "--bundle", str(bundle)], check=True, capture_output=True)
        specification = json.loads((bundle / "config.json").read_text())
        made = self._specification(specification, command, variables, files)
        (bundle / "config.json").write_text(json.dumps(made))
        log, pid_file = self._folder / f"{name}.log", bundle / "pid"
        process = child.start(self._command("run", "--bundle", str(bundle), "--pid-file", str(pid_file), name), log=log)
        running = Running(name, process, _soon(lambda: _written(pid_file), process, log), log)
        self._started[name] = running
        return running

    def _specification(
        self, body: dict[str, Any], command: Sequence[str], variables: Mapping[str, str], files: Path | None
    ) -> dict[str, Any]:
        uid, gid = self._image.user
        environment = {**self._image.environment, **variables}
        nothing: dict[str, list[str]] = {
            one: [] for one in ("bounding", "effective", "inheritable", "permitted", "ambient")
        }
        body["root"] = {"path": str(self._image.root), "readonly": True}
        body["process"] |= {
            "terminal": False,
            "user": {"uid": uid, "gid": gid},
            "args": list(command),
            "cwd": _folder(self._image),
            "env": [f"{key}={value}" for key, value in environment.items()],
            "capabilities": nothing,
            "noNewPrivileges": True,
        }
        body["mounts"] = [one for one in body["mounts"] if one["destination"] not in _WITHOUT] + [_TMP]
        if files is not None:
            bound = {"destination": "/etc/wake", "type": "bind", "source": str(files), "options": ["rbind", "ro"]}
            body["mounts"].append(bound)
        body["linux"]["namespaces"] = [one for one in body["linux"]["namespaces"] if one["type"] != "network"]
        if (allowed := seccomp.profile()) is not None:
            body["linux"]["seccomp"] = allowed
        return body

    def _command(self, *words: str) -> list[str]:
        return [self._runtime, "--root", str(self._folder / self._runtime), *words]

    def close(self) -> None:
        for name, one in self._started.items():
            subprocess.run(self._command("delete", "--force", name), check=False, capture_output=True)
            child.stop(one.process, number=signal.SIGKILL)


def choose(image: Image, folder: Path, wanted: str) -> Way:
    """Containers where they can run, else a chroot; *wanted* is `containers`, `chroot` or empty.

    Raises:
        StartFailed: containers are wanted, and none can run.
    """
    said = "neither runc nor crun is installed"
    for runtime in filter(shutil.which, _RUNTIMES if wanted != "chroot" else ()):
        trial = folder / f"trial-{runtime}"
        trial.mkdir()
        way = Containers(image, trial, runtime)
        try:
            running = way.start("trial", ["python", "-c", ""], {})
            if running.ended(_PATIENCE_SECONDS) == 0:
                return Containers(image, folder, runtime)
            said = child.last_line(running.log)
        except child.StartFailed as error:
            said = str(error)
        finally:
            way.close()
    if wanted == "containers":
        raise child.StartFailed(f"No container can run here: {said}")
    return Chroot(image, folder)


def confine(running: Running, image: Image) -> None:
    """See in /proc that a running program has no more rights than it is to have.

    Raises:
        NotConfined: it has.
    """
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{running.pid}/status").read_text().splitlines() if ":\t" in line
    )
    uid, gid = image.user
    expected = {
        "NSpid": f"{running.pid}\t1",
        "Uid": "\t".join([str(uid)] * 4),
        "Gid": "\t".join([str(gid)] * 4),
        "NoNewPrivs": "1",
        **{one: "0" * 16 for one in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
    }
    wrong = [f"{name} is {status[name]}, not {value}" for name, value in expected.items() if status[name] != value]
    if wrong:
        raise NotConfined(f"{running.name}: {'; '.join(wrong)}")


def _folder(image: Image) -> str:
    return str(image.configuration["config"]["WorkingDir"])


def _path(program: str) -> str:
    """Where it is on our own PATH, because a child is given the image's."""
    found = shutil.which(program)
    if found is None:
        raise child.StartFailed(f"{program} is not installed (on Debian: apt-get install util-linux)")
    return found


def _only_child(pid: int) -> int | None:
    """The child of a process that has one; None before it has."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(words[0]) if words else None


def _written(file: Path) -> int | None:
    """The number that a file holds, once it is whole."""
    text = file.read_text() if file.exists() else ""
    return int(text) if text.strip().isdigit() else None


def _soon(find: Callable[[], int | None], process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = find()
        if found is not None:
            return found
        if process.poll() is not None or time.monotonic() > deadline:
            raise child.StartFailed(f"it did not start: {child.last_line(log)}")
        time.sleep(0.005)
