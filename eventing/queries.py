"""SQL in `.sql` files, by name: each statement stands under a line `-- name: NAME`."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

_NAME = re.compile(r"^-- name: (?P<name>[a-z_]+)\s*$", re.MULTILINE)


class Queries:
    """The named statements of one file, read at first use."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def beside(cls, module_file: str) -> Queries:
        """The statements of `order.sql` for `order.py`: `Queries.beside(__file__)`."""
        return cls(Path(module_file).with_suffix(".sql"))

    @cached_property
    def _statements(self) -> dict[str, str]:
        _, *parts = _NAME.split(self._file.read_text())
        return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}

    def __getitem__(self, name: str) -> str:
        return self._statements[name]
