"""Reads what a built image says about its base, through what built it; docker and podman need not run it for that."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from knative.image import contents
from knative.image.builders import Builder

_FILES = ("/usr/lib/os-release", "/var/lib/dpkg/status", "/opt/wake/pyvenv.cfg")


class NotReadable(Exception):
    """There is such an image, but nobody can look into it; the message has the builder's own words."""


def system(builder: Builder, image: str) -> contents.System | None:
    """The base of an image; None where there is no such image.

    Raises:
        NotReadable: there is one, and it cannot be read.
    """
    if builder.name == "buildah":
        there, make = builder.command("inspect", "--type=image", image), ("from", "--pull-never", image)
    else:
        there, make = builder.command("image", "inspect", image), ("create", "--pull=never", image)
    if subprocess.run(there, capture_output=True, check=False).returncode != 0:
        return None
    container = _output(builder.command(*make)).strip()
    try:
        return contents.system(*(_read(builder, container, file) for file in _FILES))
    finally:
        _output(builder.command("rm", container))


def _read(builder: Builder, container: str, file: str) -> str:
    if builder.name == "buildah":
        return _output(builder.command("run", container, "--", "cat", file))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        _output(builder.command("cp", f"{container}:{file}", str(copy)))
        return copy.read_text()


def _output(command: list[str]) -> str:
    """What a command prints.

    Raises:
        NotReadable: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise NotReadable(f"{command[0]} cannot look into the image; it said: {said}")
    return done.stdout
