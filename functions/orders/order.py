"""An order, and the moves it can make. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from eventing.event import new_id, rfc3339
from functions.errors import Conflict
from functions.kept import Kept
from functions.money import Money

# From each status, where it may go and the event that this raises. What is missing is refused; the same status again
# is a repetition, and no move. docs/states.md shows this table as a diagram.
MOVES: Mapping[str, Mapping[str, str]] = {
    "placed": {
        "confirmed": "orders.confirmed.v1",
        "rejected": "orders.rejected.v1",
        "cancelled": "orders.cancelled.v1",
        "expired": "orders.expired.v1",
    },
    "confirmed": {"cancelled": "orders.cancelled.v1"},
    "rejected": {},
    "cancelled": {},
    "expired": {},
}


class IllegalMove(Conflict):
    """The order is no longer where this could be done."""


@dataclass(frozen=True)
class Step:
    """One status that an order came to: its first, its second or a later one, and when."""

    order_id: UUID
    place: int
    status: str
    at: datetime

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Step:
        """The only door from the database."""
        return cls(row["order_id"], row["place"], row["status"], row["at"])

    @property
    def is_settled(self) -> bool:
        """Whether the order was decided with it; a confirmed one may still be cancelled."""
        return self.status != "placed"


@dataclass(frozen=True)
class Order:
    """One order, as it is in the database."""

    id: UUID
    username: str
    money: Money
    payment_token: str
    status: str
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def place(cls, username: str, money: Money, payment_token: str) -> Order:
        """A new order."""
        now = datetime.now(UTC)
        return cls(UUID(new_id()), username, money, payment_token, "placed", 1, now, now)

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Order:
        """The only door from the database."""
        return cls(
            id=row["id"],
            username=row["username"],
            money=Money(row["amount_minor"], row["currency"]),
            payment_token=row["payment_token"],
            status=row["status"],
            version=row["version"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def can(self, status: str) -> bool:
        """Whether it may move there."""
        return status in MOVES[self.status]

    def move(self, status: str) -> Order:
        """The order with its next status; its version is counted by the database.

        Raises:
            IllegalMove: it may not.
        """
        if not self.can(status):
            raise IllegalMove(f"The order is {self.status}: it cannot be {status} any more.")
        return replace(self, status=status, updated_at=datetime.now(UTC))

    def view(self) -> dict[str, object]:
        """The order as the API shows it."""
        return {
            "order_id": str(self.id),
            "username": self.username,
            "amount": self.money.amount,
            "currency": self.money.currency,
            "status": self.status,
            "created_at": rfc3339(self.created_at),
        }

    def kept(self) -> Kept:
        """The order as a cache keeps it."""
        return Kept(self.username, self.version, self.view())
