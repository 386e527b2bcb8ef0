"""What the simulated processor does with a card, by its token. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SLOW = re.compile(r"^tok_slow_(\d{1,3})$")
_WEBHOOK = re.compile(r"^tok_webhook(?:_late_(?P<late>\d{1,4})|_(?P<how>twice|badsig|early|stranger))?$")


@dataclass(frozen=True)
class Webhooks:
    """How the outcome is told: after so many seconds, so often; signed rightly or not; one more for a stranger."""

    seconds: float = 1.0
    times: int = 1
    signed: bool = True
    # Told before the answer to the capture is given.
    early: bool = False
    stranger: bool = False


@dataclass(frozen=True)
class Card:
    """What becomes of an authorisation and of a capture, and how the first capture misbehaves.

    `declines` is why it does not authorise.
    """

    declines: str | None = None
    expires: bool = False
    slow_seconds: int = 0
    silent: bool = False
    fails: bool = False
    webhooks: Webhooks | None = None


def card(token: str) -> Card:
    """The card of a token."""
    if (slow := _SLOW.match(token)) is not None:
        return Card(slow_seconds=int(slow[1]))
    if (webhook := _WEBHOOK.match(token)) is not None:
        how = webhook["how"]
        return Card(
            webhooks=Webhooks(
                seconds=float(webhook["late"] or 1) if how != "early" else 0.0,
                times=2 if how == "twice" else 1,
                signed=how != "badsig",
                early=how == "early",
                stranger=how == "stranger",
            )
        )
    return {
        "tok_approve": Card(),
        "tok_decline": Card(declines="card_declined"),
        "tok_expires": Card(expires=True),
        "tok_timeout_captured": Card(silent=True),
        "tok_500_captured": Card(fails=True),
    }.get(token, Card(declines="unknown_token"))
