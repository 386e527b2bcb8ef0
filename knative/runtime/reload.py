"""Sees what is saved: Python and SQL of the functions, and YAML."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

_IGNORED = {".venv", ".wake", ".git", "__pycache__", "tests", "docs", "node_modules", ".mypy_cache", ".ruff_cache"}
_CODE = {".py", ".sql"}
_MANIFESTS = {".yaml", ".yml"}
# What programs and editors write while they run.
_WRITTEN = {".log", ".pyc", ".swp", ".tmp", ".db", ".sqlite", ".pid", ".unfinished"}
# Editors write a file in several steps; what follows within this is the same save.
_DEBOUNCE_MILLISECONDS = 60


class NotFollowed(Exception):
    """What is saved cannot be seen; the message says why."""


@dataclass(frozen=True)
class Saved:
    """What kinds of files a save touched."""

    code: bool
    sql: bool
    manifests: bool
    # Files of somebody's program: anything else in the folder of its YAML.
    programs: bool


def kinds(paths: Iterable[str], programs: Path | None) -> Saved:
    """What these files are; *programs* is the folder whose files belong to programs, where there are any."""
    files = [Path(one) for one in paths]
    suffixes = {file.suffix for file in files}
    return Saved(
        code=bool(suffixes & _CODE),
        sql=".sql" in suffixes,
        manifests=bool(suffixes & _MANIFESTS),
        programs=any(
            programs is not None and file.is_relative_to(programs) and file.suffix not in _MANIFESTS for file in files
        ),
    )


def matters(path: str, programs: Path | None) -> bool:
    """Whether a file is a source, and not something that a tool or the runtime itself wrote."""
    file = Path(path)
    known = file.suffix in _CODE | _MANIFESTS or (
        programs is not None and file.is_relative_to(programs) and file.suffix not in _WRITTEN
    )
    return known and not _IGNORED & set(file.parts)


def sources(root: Path) -> list[Path]:
    """The folders below *root* that hold sources; a .venv's thousands are left out."""
    return sorted(one for one in root.iterdir() if one.is_dir() and one.name not in _IGNORED and one.name[0] != ".")


async def saves(folders: Iterable[Path], programs: Path | None) -> AsyncIterator[Saved]:
    """Every save below these folders, from now on.

    Raises:
        NotFollowed: the machine lets nobody watch any more files.
    """

    def wanted(_: Change, path: str) -> bool:
        return matters(path, programs)

    changes = awatch(
        *dict.fromkeys(folders),
        watch_filter=wanted,
        debounce=_DEBOUNCE_MILLISECONDS,
        step=20,
        # Ctrl-C is the runtime's own business.
        raise_interrupt=False,
        ignore_permission_denied=True,
    )
    try:
        async for changed in changes:
            yield kinds((path for _, path in changed), programs)
    except (WatchfilesRustInternalError, OSError) as error:
        raise NotFollowed(
            f"{error}: allow more with `sudo sysctl fs.inotify.max_user_instances=1024 "
            "fs.inotify.max_user_watches=524288`"
        ) from error
