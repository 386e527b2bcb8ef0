"""Runs a program of an image's root in namespaces and a chroot: where containers cannot run."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from knative.runtime import child
from tests.ship.image.running import Running, soon
from tests.ship.image.store import Image

_ENTER = """
set -eu
chroot=$1 root=$2 files=$3 user=$4 group=$5 folder=$6
shift 6
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,noexec,mode=755 dev "$root/dev"
for device in null zero full random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,ro "$root/dev"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmp "$root/tmp"
if [ -n "$files" ]; then mkdir -p "$root/etc/wake"; mount --bind "$files" "$root/etc/wake"; fi
mount -o remount,bind,ro "$root"
exec "$chroot" "$root" /usr/bin/env --chdir="$folder" /usr/bin/setpriv --reuid="$user" --regid="$group" \\
    --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""


class Chroot:
    """A way to run what is in an image's root."""

    words = "in a chroot with namespaces of its own"
    filters_calls = False

    def __init__(self, image: Image, folder: Path) -> None:
        self._image, self._folder = image, folder
        self._started: list[Running] = []

    def start(
        self, name: str, command: Sequence[str], variables: Mapping[str, str], files: Path | None = None
    ) -> Running:
        """Start it; every `exec` above is one process, so that it is PID 1 itself."""
        image, log = self._image, self._folder / f"{name}.log"
        user, group = map(str, image.user)
        given = [_path("chroot"), str(image.root), str(files or ""), user, group, image.folder]
        namespaces = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
        process = child.start(
            [_path("unshare"), *namespaces, "/bin/sh", "-c", _ENTER, "enter", *given, *command],
            log=log,
            environment={**image.environment, **variables},
        )
        running = Running(name, process, soon(lambda: _only_child(process.pid), process, log), log)
        self._started.append(running)
        return running

    def close(self) -> None:
        """End what still runs: --kill-child ends PID 1 with unshare, and the kernel everything else with PID 1."""
        for one in self._started:
            child.stop(one.process, number=signal.SIGKILL)


def _path(program: str) -> str:
    """Where it is on our own PATH, because a child is given the image's."""
    found = shutil.which(program)
    if found is None:
        raise child.StartFailed(f"{program} is not installed")
    return found


def _only_child(pid: int) -> int | None:
    """The child of a process that has one; None before it has."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(words[0]) if words else None
