"""A payment, and what may become of it. Pure.

initiated ──> captured ──> refunded
    │  └────> declined
    └───────> unknown (the processor did not answer), then captured or declined
(none) ─────> voided (cancelled before it was charged)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg

from functions.money import Money, decimal

# The money's fate is open: asking the processor again, under the same key, settles it.
OPEN = frozenset({"initiated", "unknown"})


@dataclass(frozen=True)
class Payment:
    """The payment of one order; amounts in minor units of its currency."""

    order_id: UUID
    username: str
    money: Money
    payment_token: str | None
    state: str
    reason: str | None
    captured_minor: int
    refunded_minor: int

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
            captured_minor=row["captured_minor"],
            refunded_minor=row["refunded_minor"],
        )

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet what became of the money."""
        return self.state in OPEN

    def captured(self) -> Payment:
        """The whole amount was taken."""
        return replace(self, state="captured", captured_minor=self.money.minor, reason=None)

    def declined(self, reason: str) -> Payment:
        """Nothing was taken, nor will be."""
        return replace(self, state="declined", reason=reason)

    def unknown(self, reason: str) -> Payment:
        """The processor was asked and did not say."""
        return replace(self, state="unknown", reason=reason)

    def refunded(self, reason: str) -> Payment:
        """All that was captured was given back."""
        return replace(self, state="refunded", refunded_minor=self.captured_minor, reason=reason)

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
