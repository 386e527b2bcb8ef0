"""Finds what builds images on this machine (docker, podman or buildah), and says what to type."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# In the order in which they are asked; buildah builds and pushes, but runs nothing.
PROGRAMS = ("docker", "podman", "buildah")


class NoBuilder(Exception):
    """Nothing here builds images; the message says why, and how to get something that does."""


@dataclass(frozen=True)
class Builder:
    """A program that builds images; *options* stand before its verb, *build_options* after it."""

    name: str
    options: tuple[str, ...] = ()
    build_options: tuple[str, ...] = ()

    def command(self, *words: str) -> list[str]:
        """What to run for some other verb of it."""
        return [self.name, *self.options, *words]


@dataclass(frozen=True)
class Build:
    """What is built: the tag, the build arguments, and the files that one step may see and no layer keeps."""

    tag: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    folder: Path = Path()


def build_command(builder: Builder, build: Build) -> list[str]:
    """The command that builds."""
    arguments = [f"--build-arg={name}={value}" for name, value in build.arguments.items()]
    secrets = [f"--secret=id={name},src={file}" for name, file in build.secrets.items()]
    file = str(build.folder / "Containerfile")
    options = (*builder.build_options, f"--file={file}", f"--tag={build.tag}", *arguments, *secrets)
    return builder.command("build", *options, str(build.folder))


def build_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """With BuildKit: docker's older builder knows no `RUN --mount`, and is still what some installations begin with."""
    return {"DOCKER_BUILDKIT": "1", **environ}


def find(
    is_there: Callable[[str], bool] = lambda name: shutil.which(name) is not None,
    answers: Callable[[Sequence[str]], bool] | None = None,
) -> Builder:
    """The first that is installed and works; a docker whose daemon is silent does not.

    Raises:
        NoBuilder: there is none.
    """
    answers = answers or _answers
    silent = []
    for name in filter(is_there, PROGRAMS):
        if answers([name, "version"]):
            return Builder(name)
        silent.append(name)
    why = f"{' and '.join(silent)} cannot be used (try `{silent[0]} version`)" if silent else "nothing is installed"
    raise NoBuilder(
        f"No image can be built here: {why}. Install docker, podman or buildah (on Debian: apt-get install buildah)."
    )


def _answers(command: Sequence[str]) -> bool:
    """Whether it ends well within half a minute."""
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
