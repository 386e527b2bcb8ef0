"""What payments need of a card processor. Every call carries our idempotency key: asked again, it answers the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from functions.money import Money


@dataclass(frozen=True)
class Captured:
    """The amount was taken."""


@dataclass(frozen=True)
class Declined:
    """The card will not be charged; why, in the processor's word."""

    reason: str


class ProcessorSilent(Exception):
    """It is not known what the processor did: ask again, under the same key."""


class CardProcessor(Protocol):
    """A card processor."""

    async def capture(self, key: str, money: Money, token: str) -> Captured | Declined:
        """Take money from the card behind a token; raises ProcessorSilent."""

    async def refund(self, key: str, charge_key: str, money: Money) -> None:
        """Give back what was captured under *charge_key*; raises ProcessorSilent."""


@contextlib.asynccontextmanager
async def chosen() -> AsyncIterator[CardProcessor]:
    """The processor that CARD_PROCESSOR names (only `simulator` so far), at CARD_PROCESSOR_URL."""
    from functions.payments.cards.simulator import Simulator, SimulatorSettings  # noqa: PLC0415 - the chosen one only.

    name = os.environ.get("CARD_PROCESSOR", "simulator")
    if name != "simulator":
        raise ValueError(f"CARD_PROCESSOR is {name!r}; there is only simulator")
    async with Simulator(SimulatorSettings.from_environment()) as processor:
        yield processor
