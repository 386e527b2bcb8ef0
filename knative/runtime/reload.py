"""Sees what is saved: Python and SQL of the functions, and YAML."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, awatch

_IGNORED = {".venv", ".wake", ".git", "__pycache__", "tests", "docs", "node_modules", ".mypy_cache", ".ruff_cache"}
_CODE = {".py", ".sql"}
_MANIFESTS = {".yaml", ".yml"}
# Editors write a file in several steps; what follows within this is the same save.
_DEBOUNCE_MILLISECONDS = 60


@dataclass(frozen=True)
class Saved:
    """What kinds of files a save touched."""

    code: bool
    sql: bool
    manifests: bool


def kinds(paths: Iterable[str]) -> Saved:
    """What these files are."""
    suffixes = {Path(one).suffix for one in paths}
    return Saved(bool(suffixes & _CODE), ".sql" in suffixes, bool(suffixes & _MANIFESTS))


def _matters(_: Change, path: str) -> bool:
    file = Path(path)
    return file.suffix in _CODE | _MANIFESTS and not _IGNORED & set(file.parts)


def sources(root: Path) -> list[Path]:
    """The folders below *root* that hold sources; a .venv's thousands are left out."""
    return sorted(one for one in root.iterdir() if one.is_dir() and one.name not in _IGNORED and one.name[0] != ".")


async def saves(folders: Iterable[Path]) -> AsyncIterator[Saved]:
    """Every save below these folders, from now on."""
    async for changes in awatch(
        *dict.fromkeys(folders),
        watch_filter=_matters,
        debounce=_DEBOUNCE_MILLISECONDS,
        step=20,
        # Ctrl-C is the runtime's own business.
        raise_interrupt=False,
        ignore_permission_denied=True,
    ):
        yield kinds(path for _, path in changes)
