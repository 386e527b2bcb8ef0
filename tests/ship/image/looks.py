"""What an attacker would look for in an image's root, as sentences; none is well."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from tests.ship.image import planted
from tests.ship.image.store import Image

LIMIT_BYTES = 120_000_000
OURS = ("app", "opt/wake")
# What code is, beside Python: SQL, Redis' scripts, what is generated of the YAML and the events.
CODE = (
    *(f"{folder}/**/*{suffix}" for folder in planted.FOLDERS for suffix in (".py", ".sql", ".lua")),
    "functions/schemas/*.json",
    "functions/services.json",
)
# Servers that a cluster brings, by their programs, and what only a laptop has.
_NEVER = ("nats-server", "envoy", "postgres", "initdb", "etcd", "wake")
LABELS = ("title", "description", "licenses", "version", "revision", "created", "base.name")


def dangers(image: Image) -> Iterator[str]:
    """Everything that is wrong with it at rest."""
    if image.sizes.own > LIMIT_BYTES:
        yield f"our layers have {image.sizes.own:,} bytes, {LIMIT_BYTES:,} are allowed"
    yield from of_configuration(image.configuration)
    yield from _left_behind(image.root)
    for file, status in _files(image.root):
        yield from of_file(file.relative_to(image.root), status, image.user)


def of_configuration(configuration: Mapping[str, Any]) -> Iterator[str]:
    config = configuration["config"]
    uid = str(config.get("User", "")).partition(":")[0]
    if not uid.isdigit() or uid == "0":
        yield f"the user is {uid or 'not said'}, not a number other than 0"
    if config.get("Entrypoint") != ["python", "-m", "functions"] or config.get("Cmd"):
        yield f"the entry point is {config.get('Entrypoint')} {config.get('Cmd')}"
    if config.get("StopSignal") != "SIGTERM":
        yield f"the stop signal is {config.get('StopSignal')}"
    for name in LABELS:
        if not config.get("Labels", {}).get(f"org.opencontainers.image.{name}"):
            yield f"there is no label {name}"
    if planted.MARK in json.dumps(configuration):
        yield "its configuration or history has a secret"


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            file = Path(folder, name)
            yield file, file.lstat()


def of_file(file: Path, status: os.stat_result, user: tuple[int, int]) -> Iterator[str]:
    if stat.S_ISLNK(status.st_mode) or file.parts[0] == "dev":
        return
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        yield f"/{file} lends its owner's rights"
    if status.st_mode & stat.S_IWOTH and file != Path("tmp"):
        yield f"/{file} may be written by everybody"
    if status.st_uid == user[0] or status.st_gid == user[1]:
        yield f"/{file} belongs to the user that runs"
    if file.is_relative_to("app") or file.is_relative_to("opt/wake"):
        if not status.st_mode & stat.S_IROTH:
            yield f"/{file} cannot be read by the user that runs"
        if file.name in _NEVER and stat.S_ISREG(status.st_mode):
            yield f"/{file} is in the image"


def _left_behind(root: Path) -> Iterator[str]:
    for top in OURS:
        for file in (root / top).rglob("*"):
            if file.is_file() and not file.is_symlink() and planted.MARK.encode() in file.read_bytes():
                yield f"/{file.relative_to(root)} has a secret in it"
    for name in ("build", "run/secrets", "root/.cache", "etc/pip.conf"):
        if (root / name).exists():
            yield f"/{name} was left behind"


def missing(source: Path, root: Path) -> Iterator[str]:
    """Files of the code that are not there, or otherwise, and files that are there and no code."""
    code = {file.relative_to(source) for pattern in CODE for file in source.glob(pattern)}
    there = {
        file.relative_to(root / "app")
        for file in (root / "app").rglob("*")
        if file.is_file() and file.parent.name != "__pycache__"
    }
    yield from (f"/app/{file} is not there" for file in sorted(code - there))
    yield from (f"/app/{file} is no code" for file in sorted(there - code))
    yield from (
        f"/app/{file} is not the code's"
        for file in sorted(code & there)
        if (root / "app" / file).read_bytes() != (source / file).read_bytes()
    )


def uncompiled(root: Path) -> Iterator[str]:
    """Modules of ours that have no bytecode, or such as goes by the time of a file (PEP 552: flags 0b01, unchecked)."""
    for top in OURS:
        for source in (root / top).rglob("*.py"):
            compiled = next((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"), None)
            if compiled is None or compiled.read_bytes()[4:8] != b"\x01\x00\x00\x00":
                yield str(source.relative_to(root))


def installed(root: Path) -> set[tuple[str, str]]:
    """Every distribution that is installed there, as (name, version)."""
    (packages,) = (root / "opt/wake/lib").glob("python3.*/site-packages")
    return {
        (one.name.lower().replace("_", "-").replace(".", "-"), one.version)
        for one in distributions(path=[str(packages)])
    }
