"""A storage of buildah's own: a base, the image on it, and its root as a folder; all of it in one temporary folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knative.image.builders import Build, Builder, build_command
from knative.runtime import child

BASE = "localhost/base"
IMAGE = "localhost/wake"
# Debian 13, whose Python is the official image's minor version.
SUITE = "trixie"
_PACKAGES = "python3,python3-venv,binutils,ca-certificates"
# As in the official image: no bytecode, which is ours to add.
_WITHOUT_BYTECODE = 'find "$1/usr/lib" -name __pycache__ -prune -exec rm -rf {} +'
_SECONDS = 10 * 60


class StoreFailed(Exception):
    """A program failed; the message has its last words."""


@dataclass(frozen=True)
class Sizes:
    """Uncompressed, in bytes: the base's layers, and those that are ours."""

    base: int
    own: int


@dataclass(frozen=True)
class Image:
    """A built image, its root in a folder, and what its configuration says."""

    root: Path
    configuration: Mapping[str, Any]
    sizes: Sizes

    @property
    def environment(self) -> dict[str, str]:
        """Its variables."""
        return dict(one.split("=", 1) for one in self.configuration["config"]["Env"])

    @property
    def folder(self) -> str:
        """Where its programs begin."""
        return str(self.configuration["config"]["WorkingDir"])

    @property
    def user(self) -> tuple[int, int]:
        """The numeric user and group that it runs as."""
        uid, _, gid = str(self.configuration["config"]["User"]).partition(":")
        return int(uid), int(gid)


class Store:
    """Where buildah keeps what it makes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        storage = ("--storage-driver=vfs", f"--root={folder / 'root'}", f"--runroot={folder / 'run'}")
        # A chroot needs no container to be possible here; one layer is all there is to measure.
        self._builder = Builder(
            "buildah", storage, ("--isolation=chroot", "--network=host", "--layers=false", "--quiet")
        )

    def make_base(self) -> None:
        """Make the base from Debian's packages: no registry is needed."""
        container = self._buildah("from", "scratch")
        root = self._buildah("mount", container)
        self._run(
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={_PACKAGES}"),
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            f"--customize-hook={_WITHOUT_BYTECODE}",
            *(SUITE, root),
        )
        self._buildah("commit", "--quiet", "--rm", container, BASE)

    def build(self, base: str, context: Path, secrets: Mapping[str, Path], arguments: Mapping[str, str]) -> Image:
        """Build the image on a base, and lay its root out."""
        build = Build(IMAGE, {**arguments, "BASE": base}, secrets, context)
        self._run(*build_command(self._builder, build))
        below = len(self._inspect(base)["OCIv1"]["rootfs"]["diff_ids"])
        made = self._inspect(IMAGE)
        layers = [int(one["size"]) for one in json.loads(made["Manifest"])["layers"]]
        root = Path(self._buildah("mount", self._buildah("from", "--pull-never", IMAGE)))
        return Image(root, json.loads(made["Config"]), Sizes(sum(layers[:below]), sum(layers[below:])))

    def _inspect(self, image: str) -> Any:
        return json.loads(self._buildah("inspect", "--type=image", image))

    def _buildah(self, *words: str) -> str:
        return self._run(*self._builder.command(*words))

    def _run(self, *command: str) -> str:
        """What it prints.

        Raises:
            StoreFailed: it failed.
        """
        log, output = self._folder / "log", self._folder / "output"
        output.unlink(missing_ok=True)
        process = child.start(["/bin/sh", "-c", 'exec "$@" 2>"$0"', str(log), *command], log=output)
        try:
            code = process.wait(_SECONDS)
        except BaseException:
            # Also a ctrl-C: it clears up what it mounted, and what it started ends with it.
            child.stop(process, patience_seconds=10.0)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        if code != 0:
            said = "\n".join(log.read_text().splitlines()[-15:])
            raise StoreFailed(f"{' '.join(command[:1])} failed (exit {code}):\n{said}")
        return output.read_text().strip()
