"""A user, as it is in the database and as the API shows it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import asyncpg
from pydantic import Field

from eventing.event import rfc3339
from functions.identity import USERNAME, Role
from functions.kept import Kept

Username = Annotated[str, Field(pattern=USERNAME)]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,189}$")]
# Long ones are hashed too; a limit keeps a body from being the work of an attack.
Password = Annotated[str, Field(min_length=10, max_length=200)]


@dataclass(frozen=True)
class User:
    """One user who is active."""

    username: str
    email: str
    password_hash: str
    role: Role
    version: int
    created_at: datetime

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> User:
        """The only door from the database."""
        return cls(
            username=row["username"],
            email=row["email"],
            password_hash=row["password_hash"],
            role=row["role"],
            version=row["version"],
            created_at=row["created_at"],
        )

    def view(self) -> dict[str, object]:
        """The user as the API shows it."""
        return {"username": self.username, "email": self.email, "created_at": rfc3339(self.created_at)}

    def kept(self) -> Kept:
        """The user as a cache keeps it."""
        return Kept(self.username, self.version, self.view())
