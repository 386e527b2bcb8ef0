"""What is in the image, by what says so: the lock of what is installed, and the package database of the base. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.markers import Marker

# `name==1.2 ; marker` and the hashes on the lines that follow it (pip, "Requirements File Format").
_PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.+))?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_BASE = re.compile(r"^ARG BASE=\S+/python:(?P<version>\d+\.\d+\.\d+)-", re.MULTILINE)


@dataclass(frozen=True)
class Pinned:
    """One distribution of the lock; the hashes are those of every file that it may be installed from."""

    name: str
    version: str
    marker: str | None
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class SystemPackage:
    """One package of the base's system."""

    name: str
    version: str
    architecture: str


@dataclass(frozen=True)
class System:
    """The base of a built image: its distribution (`debian`, `13`), its Python, and its packages."""

    distribution: str
    release: str
    python: str
    packages: tuple[SystemPackage, ...]


def pinned(lock: str) -> Iterator[Pinned]:
    """Everything that a lock with hashes names.

    Raises:
        ValueError: a line is none that `make lock` writes.
    """
    lines = (line for line in lock.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#"))
    for line in lines:
        pin, _, hashes = line.partition("--hash=")
        found = _PIN.match(pin.strip())
        if found is None or not hashes:
            raise ValueError(f"no pin with hashes: {line.strip()[:80]}")
        yield Pinned(found["name"], found["version"], found["marker"], tuple(sorted(_HASH.findall(f"--hash={hashes}"))))


def installed(lock: str, python: str) -> list[Pinned]:
    """What of a lock a CPython of this version on Linux installs."""
    minor = ".".join(python.split(".")[:2])
    environment = {
        "python_full_version": python,
        "python_version": minor,
        "implementation_name": "cpython",
        "implementation_version": python,
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_system": "Linux",
    }
    return [one for one in pinned(lock) if one.marker is None or Marker(one.marker).evaluate(environment)]


def python_of_base(containerfile: str) -> str:
    """The version of Python in the base that the Containerfile names.

    Raises:
        ValueError: it names none.
    """
    found = _BASE.search(containerfile)
    if found is None:
        raise ValueError("the Containerfile's BASE says no version of Python")
    return found["version"]


def system(os_release: str, dpkg_status: str, pyvenv_cfg: str) -> System:
    """The base, by three files of a built image: os-release(5), dpkg's status, and pyvenv.cfg of our environment."""
    release = _fields(os_release.replace('"', ""), "=")
    stanzas = (_fields(one, ":") for one in dpkg_status.split("\n\n"))
    packages = (
        SystemPackage(one["Package"], one["Version"], one["Architecture"])
        for one in stanzas
        if one.get("Status", "").endswith(" installed")
    )
    return System(
        release.get("ID", "debian"),
        release.get("VERSION_ID", ""),
        _fields(pyvenv_cfg, "=")["version"],
        tuple(sorted(packages, key=lambda one: (one.name, one.architecture))),
    )


def _fields(text: str, separator: str) -> dict[str, str]:
    """`name: value` or `name=value` lines; those that go on with the line before are left out."""
    lines = (line.partition(separator) for line in text.splitlines() if line[:1].strip() and separator in line)
    return {name.strip(): value.strip() for name, _, value in lines}
