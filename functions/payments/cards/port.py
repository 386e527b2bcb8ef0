"""What payments need of a card processor. Every call carries our idempotency key: asked again, it answers the same.

A payment is one charge, under one key: authorised (held on the card), captured (taken), voided (never to be taken).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from functions.money import Money


@dataclass(frozen=True)
class Authorised:
    """The amount is held on the card."""


@dataclass(frozen=True)
class Pending:
    """It will be known later: a webhook tells, or whoever looks it up."""


@dataclass(frozen=True)
class Captured:
    """The amount was taken."""


@dataclass(frozen=True)
class Declined:
    """The card will not be charged; why, in the processor's word."""

    reason: str


@dataclass(frozen=True)
class Expired:
    """The authorisation has lapsed: nothing was taken."""


@dataclass(frozen=True)
class Voided:
    """Nothing will ever be taken under this key."""


@dataclass(frozen=True)
class Nothing:
    """The processor has never heard of this key."""


@dataclass(frozen=True)
class Charged:
    """A charge in the processor's own books. Amounts are decimal strings; `refunded` None where it does not say."""

    key: str
    captured: str
    refunded: str | None
    captures: int


Answer: TypeAlias = Authorised | Pending | Captured | Declined | Expired | Voided


@dataclass(frozen=True)
class Told:
    """What a webhook tells: under its own id, about which charge, what became of it."""

    id: str
    key: str
    answer: Answer


class ProcessorSilent(Exception):
    """It is not known what the processor did: ask again, under the same key."""


class CardProcessor(Protocol):
    """A card processor. Every call may raise ProcessorSilent."""

    async def authorise(self, key: str, money: Money, token: str) -> Answer:
        """Hold money on the card behind a token; an answer beyond that says what became of it since."""

    async def capture(self, key: str, money: Money) -> Answer:
        """Take what is held."""

    async def void(self, key: str, money: Money) -> Answer:
        """Let go what is held, or see to it that nothing ever is; `Captured` where it is too late for that."""

    async def refund(self, key: str, charge: str, money: Money) -> None:
        """Give back so much of what was captured under *charge*; under one *key* once."""

    async def look_up(self, key: str) -> Answer | Nothing:
        """What became of a charge."""

    def charges(self) -> AsyncIterator[Charged]:
        """Every charge in the processor's books."""


@contextlib.asynccontextmanager
async def chosen() -> AsyncIterator[CardProcessor]:
    """The processor that CARD_PROCESSOR names: `simulator` or `stripe`.

    Raises:
        ValueError: there is none of that name, or one of its settings is missing.
    """
    name = os.environ.get("CARD_PROCESSOR", "simulator")
    if name == "simulator":
        from functions.payments.cards.simulator import Simulator, SimulatorSettings  # noqa: PLC0415 - the chosen only.

        async with Simulator(SimulatorSettings.from_environment()) as simulator:
            yield simulator
    elif name == "stripe":
        from functions.payments.cards.stripe import Stripe, StripeSettings  # noqa: PLC0415 - the chosen only.

        async with Stripe(StripeSettings.from_environment()) as stripe:
            yield stripe
    else:
        raise ValueError(f"CARD_PROCESSOR is {name!r}; there are simulator and stripe")
