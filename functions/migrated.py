"""Which migrations a database must have had before this code uses it: those that stand beside the code.

A database that has had more is welcome: after a rollback the older code finds it so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg

from eventing.queries import Queries
from functions.errors import Unavailable

_log = logging.getLogger("functions")
_queries = Queries.beside(__file__)
_ROOT = Path(__file__).parent.parent
_AGAIN_SECONDS = 1.0
_OUTBOX, _IDEMPOTENCY = "eventing/migrations", "functions/migrations"
# What the Job NAME-migrate applies to each database.
FOLDERS: Mapping[str, tuple[str, ...]] = {
    "users": (_OUTBOX, "functions/users/migrations"),
    "orders": (_OUTBOX, _IDEMPOTENCY, "functions/orders/migrations"),
    "payments": (_OUTBOX, _IDEMPOTENCY, "functions/payments/migrations"),
    "cards": ("functions/payments/cards/migrations",),
    "deadletters": ("functions/deadletters/migrations",),
}


def of_area(area: str) -> str | None:
    """An area's own database; outbox works on those of the others."""
    return area if area in FOLDERS else None


class NotMigrated(Unavailable):
    """The database lacks migrations that this needs: try again when they were applied."""

    def __init__(self) -> None:
        super().__init__(retry_after_seconds=5)


@cache
def shipped(name: str) -> Mapping[str, str]:
    """The migrations of one of FOLDERS, by their versions: dbmate takes what is before a file's first `_`.

    Raises:
        FileNotFoundError: a folder was not shipped with the code.
    """
    files = [file for folder in FOLDERS[name] for file in (_ROOT / folder).iterdir() if file.suffix == ".sql"]
    found = {file.stem.partition("_")[0]: file.stem for file in sorted(files, key=lambda file: file.name)}
    assert all(map(str.isdecimal, found))  # noqa: S101 - our own names of files, which become part of a statement.
    return found


async def _has(connection: Any, wanted: Mapping[str, str]) -> bool:
    """Whether all were applied.

    A statement without arguments takes one round trip instead of two, and its tag says how many rows there are: this
    is a part of every cold start.
    """
    tag: str = await connection.execute(_queries["applied"].replace(":versions", ",".join(wanted)))
    return tag == f"SELECT {len(wanted)}"


class Migrations:
    """What is known of one database's. Once all were there nobody asks again, for none is ever taken back."""

    def __init__(self, name: str | None, database: str) -> None:
        """*name* is one of FOLDERS, or None where the database is not ours to ask; *database* is for messages."""
        self._name = name
        self._database = database
        self._again = 0.0
        self._told = False
        self.complete = name is None

    async def require(self, connection: Any) -> None:
        """Ask by this connection, unless the answer is known.

        Raises:
            NotMigrated: some are missing; the log says which, once.
        """
        if self.complete:
            return
        if time.monotonic() >= self._again:
            lacking = await self._lacking(connection)
            if lacking is None:
                self._found()
                return
            self._again = time.monotonic() + _AGAIN_SECONDS
            self._tell(lacking)
        raise NotMigrated

    async def _lacking(self, connection: Any) -> str | None:
        """What keeps us from using it, as the object of a sentence; None where nothing does."""
        assert self._name is not None  # noqa: S101 - is complete otherwise.
        wanted = shipped(self._name)
        try:
            if await _has(connection, wanted):
                return None
            missing = [row["version"] for row in await connection.fetch(_queries["missing"], list(wanted))]
        except asyncpg.UndefinedTableError:
            missing = list(wanted)
        except asyncpg.InsufficientPrivilegeError:
            return "does not let this role read which migrations it had: GRANT SELECT ON schema_migrations to it"
        return f"lacks {', '.join(wanted[one] for one in missing)}, which the Job {self._name}-migrate applies"

    def _tell(self, lacking: str) -> None:
        if not self._told:
            reason = f"The database {self._database} {lacking}; until then all that needs it is answered 503."
            _log.error("not_migrated", extra={"reason": reason})
        self._told = True

    def _found(self) -> None:
        self.complete = True
        if self._told:
            _log.info("migrated", extra={"reason": f"The database {self._database} has what it lacked."})
