"""The explorer finds nothing as things are, and finds each safeguard that is taken away."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from eventing import inbox, outbox
from functions import idempotency
from functions.money import Money
from functions.orders.order import Order
from functions.payments import payments
from functions.payments.cards.simulator import Simulator
from tests.explore.explorer import Run, Scenario, explore
from tests.explore.world import AREAS, World

APPROVED = Scenario("tok_approve")
CANCELLED = Scenario("tok_approve", cancel_after=1)


@pytest.fixture
async def world(database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The functions on databases of this test's own; the environment is given back afterwards."""
    before = dict(os.environ)
    async with World.opened({area: database_url(area) for area in AREAS}) as made:
        yield made
    os.environ.clear()
    os.environ.update(before)


async def first_violation(world: World, scenario: Scenario) -> Run | None:
    """The first run that goes wrong."""
    async for run, _ in explore(world, [scenario]):
        if run.violations:
            return run
    return None


async def test_no_single_fault_breaks_an_order(world: World) -> None:
    """Every crash, repetition and exchange of the plain order; `make explore` does it for all scenarios."""
    assert await first_violation(world, APPROVED) is None


async def forget(*_: Any) -> bool:
    """An inbox that remembers nothing."""
    return True


async def nothing(*_: Any, **__: Any) -> int:
    """Does nothing."""
    return 0


def another_key_each_time(patch: pytest.MonkeyPatch) -> None:
    """Charges under a key that is new whenever the card is charged."""
    authorise, capture = Simulator.authorise, Simulator.capture
    keys: list[str] = []

    async def authorised(self: Simulator, key: str, money: Money, token: str) -> Any:
        keys.append(f"{key}-{len(keys)}")
        return await authorise(self, keys[-1], money, token)

    async def captured(self: Simulator, key: str, money: Money) -> Any:
        return await capture(self, keys[-1], money)

    patch.setattr(Simulator, "authorise", authorised)
    patch.setattr(Simulator, "capture", captured)


SAFEGUARDS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Scenario, str]] = {
    "inbox": (lambda patch: patch.setattr(inbox, "first_time", forget), APPROVED, "is not remembered"),
    "idempotency key of the buyer": (
        lambda patch: patch.setattr(idempotency, "claim", lambda *_: None),
        APPROVED,
        "one request became",
    ),
    "idempotency key at the processor": (
        another_key_each_time,
        APPROVED,
        "the processor captured 99.50, and we know nothing of it",
    ),
    "outbox": (lambda patch: patch.setattr(outbox, "drain", nothing), APPROVED, "it is still placed"),
    "guard of the order": (
        lambda patch: (
            patch.setattr(Order, "can", lambda *_: True),
            patch.setattr(Order, "move", lambda order, status: replace(order, status=status)),
        )[0],
        CANCELLED,
        "it is confirmed, but its payment was undone",
    ),
    "memory of the cancelling": (
        lambda patch: patch.setattr(payments, "undo", nothing),
        Scenario("tok_approve", cancel_after=0),
        "nobody knows what became of the money",
    ),
}


@pytest.mark.parametrize("name", SAFEGUARDS)
async def test_without_a_safeguard_it_is_found(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With the fault that shows it, and what it led to."""
    take_away, scenario, said = SAFEGUARDS[name]
    take_away(monkeypatch)
    run = await first_violation(world, scenario)

    assert run is not None
    assert any(said in one for one in run.violations), (run.fault, run.trace, run.violations)
