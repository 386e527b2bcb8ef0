"""Reads what a built image says about its base, through what built it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from knative.image import contents
from knative.image.builders import Builder

_FILES = ("/etc/os-release", "/var/lib/dpkg/status", "/opt/wake/pyvenv.cfg")


def system(builder: Builder, image: str) -> contents.System | None:
    """The base of an image; None where it was not built, or is not to be read."""
    with _reader(builder, image) as read:
        texts = [_output([*read, file]) for file in _FILES]
    return contents.system(*(text for text in texts if text)) if all(texts) else None


@contextmanager
def _reader(builder: Builder, image: str) -> Iterator[list[str]]:
    """The command that prints a file of the image; buildah runs nothing without a working container."""
    if builder.name != "buildah":
        yield builder.command("run", "--rm", "--network=none", "--pull=never", "--entrypoint=cat", image)
        return
    container = _output(builder.command("from", "--pull-never", image)).strip()
    yield builder.command("run", container, "--", "cat")
    if container:
        _output(builder.command("rm", container))


def _output(command: list[str]) -> str:
    """What a command prints; nothing where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
