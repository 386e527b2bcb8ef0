"""A payment: its states, the moves between them, and the event that each raises. Pure.

docs/states.md shows this table as a diagram.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg

from functions.errors import Conflict
from functions.money import Money, decimal

CAPTURED, DECLINED, REFUNDED = "payments.captured.v1", "payments.declined.v1", "payments.refunded.v1"

# From each state, where it may go and the event that this raises (None: none). What is missing is refused.
MOVES: Mapping[str, Mapping[str, str | None]] = {
    # The processor may or may not have been asked.
    "initiated": {
        "authorised": None,
        "pending": None,
        "unknown": None,
        "captured": CAPTURED,
        "declined": DECLINED,
        "expired": DECLINED,
        "voided": None,
    },
    # It was asked, and did not say.
    "unknown": {
        "authorised": None,
        "pending": None,
        "captured": CAPTURED,
        "declined": DECLINED,
        "expired": DECLINED,
        "voided": None,
    },
    # The amount is held on the card.
    "authorised": {
        "pending": None,
        "unknown": None,
        "captured": CAPTURED,
        "declined": DECLINED,
        "expired": DECLINED,
        "voided": None,
    },
    # It will say by webhook.
    "pending": {"unknown": None, "captured": CAPTURED, "declined": DECLINED, "expired": DECLINED, "voided": None},
    "captured": {"partly-refunded": REFUNDED, "refunded": REFUNDED},
    "partly-refunded": {"partly-refunded": REFUNDED, "refunded": REFUNDED},
    "refunded": {},
    # Where the processor captured although it was told, or said, that it would not: given back at once.
    "declined": {"captured": CAPTURED},
    "expired": {"captured": CAPTURED},
    "voided": {"captured": CAPTURED},
}
OPEN = frozenset({"initiated", "unknown", "authorised", "pending"})
# Captured from here, the money is not wanted any more.
NOT_WANTED: Mapping[str, str] = {
    "declined": "it was captured after it was declined",
    "expired": "it was captured after the authorisation had expired",
    "voided": "it was captured after it was voided",
}


class IllegalMove(Conflict):
    """The payment is no longer where this could be done."""


@dataclass(frozen=True)
class Payment:
    """The payment of one order; amounts in minor units of its currency, those of money that moved from the ledger."""

    order_id: UUID
    username: str
    money: Money
    payment_token: str | None
    state: str
    reason: str | None
    undone_reason: str | None
    captured_minor: int
    refunded_minor: int
    # What was asked to be given back, done or not.
    refunding_minor: int

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Payment:
        """The only door from the database."""
        return cls(
            order_id=row["order_id"],
            username=row["username"],
            money=Money(row["amount_minor"], row["currency"]),
            payment_token=row["payment_token"],
            state=row["state"],
            reason=row["reason"],
            undone_reason=row["undone_reason"],
            captured_minor=row["captured_minor"],
            refunded_minor=row["refunded_minor"],
            refunding_minor=row["refunding_minor"],
        )

    @property
    def key(self) -> str:
        """Under which the processor is asked, always: asked again it does nothing more."""
        return str(self.order_id)

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet what becomes of the money."""
        return self.state in OPEN

    @property
    def refundable_minor(self) -> int:
        """What was captured and not asked back yet."""
        return self.captured_minor - self.refunding_minor

    def may(self, state: str) -> bool:
        """Whether it can move there."""
        return state in MOVES[self.state]

    def move(self, state: str, reason: str | None = None) -> Payment:
        """The payment in its next state.

        Raises:
            IllegalMove: it may not go there.
        """
        if not self.may(state):
            raise IllegalMove(f"The payment is {self.state}: it cannot become {state}.")
        return replace(self, state=state, reason=reason)

    def view(self) -> dict[str, object]:
        """The payment as the API shows it, without its attempts."""
        return {
            "order_id": str(self.order_id),
            "state": self.state,
            "captured": decimal(self.captured_minor, self.money.currency),
            "refunded": decimal(self.refunded_minor, self.money.currency),
            "currency": self.money.currency,
            "reason": self.reason,
        }
