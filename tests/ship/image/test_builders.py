"""What builds the image, where there is something that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from knative.image.builders import Build, Builder, NoBuilder, build_command, build_environment, find


def among(*names: str) -> Callable[[str], bool]:
    """A machine that has these programs."""
    return names.__contains__


def silent(*names: str) -> Callable[[Sequence[str]], bool]:
    """Programs of which these do not answer."""
    return lambda command: command[0] not in names


def test_docker_comes_first() -> None:
    """Most people who have several have it for this."""
    assert find(among("buildah", "docker"), silent()).name == "docker"


def test_a_docker_whose_daemon_is_silent_is_passed_over() -> None:
    """Its client alone builds nothing."""
    assert find(among("docker", "buildah"), silent("docker")).name == "buildah"


def test_without_any_it_says_what_to_install() -> None:
    """In one sentence."""
    with pytest.raises(NoBuilder, match=r"nothing is installed\. Install docker, podman or buildah \(on Debian"):
        find(among(), silent())


def test_a_program_that_does_not_answer_is_named() -> None:
    """With what to type to see why."""
    with pytest.raises(NoBuilder, match=r"docker cannot be used \(try `docker version`\)"):
        find(among("docker"), silent("docker"))


def test_secrets_are_mounted_and_never_build_arguments() -> None:
    """Build arguments are in the image's history."""
    build = Build("shop:1", {"VERSION": "1"}, {"pip.conf": Path("/private/pip.conf")}, Path("/code"))

    assert build_command(Builder("podman"), build) == [
        "podman",
        "build",
        "--file=/code/Containerfile",
        "--tag=shop:1",
        "--build-arg=VERSION=1",
        "--secret=id=pip.conf,src=/private/pip.conf",
        "/code",
    ]


def test_docker_is_asked_for_buildkit_unless_told_otherwise() -> None:
    """Its older builder knows no mounts."""
    assert build_environment({})["DOCKER_BUILDKIT"] == "1"
    assert build_environment({"DOCKER_BUILDKIT": "0"})["DOCKER_BUILDKIT"] == "0"
