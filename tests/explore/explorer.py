"""Runs the order flow under every single fault, one after the other, and says what is wrong at rest.

Bounds: one order; one fault in a run (a crash at each crossing in turn, each delivery repeated at once, each two
neighbours exchanged), and after every run each event is delivered once more, late. Two crashes in one run, two orders
that meet, and faults inside PostgreSQL or the card processor are not explored; `make storm` has those.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from functions.payments import books
from tests.explore.world import PING, Delivery, Faults, World, bearer

_ATTEMPTS_MAX = 60
_KEY = {"idempotency-key": "the-buyers"}


@dataclass(frozen=True)
class Scenario:
    """What the buyer does: orders on this card, and cancels (or lets it expire) after so many deliveries."""

    token: str
    cancel_after: int | None = None
    expire_after: int | None = None

    def __str__(self) -> str:
        """As a line of the report."""
        cancelled = "" if self.cancel_after is None else f", cancelled after {self.cancel_after} deliveries"
        expired = "" if self.expire_after is None else f", expired after {self.expire_after} deliveries"
        return f"{self.token}{cancelled}{expired}"


SCENARIOS = (
    *(Scenario(token) for token in ("tok_approve", "tok_decline", "tok_500_captured", "tok_expires", "tok_webhook")),
    *(Scenario("tok_approve", cancel_after=after) for after in range(4)),
    *(Scenario("tok_500_captured", cancel_after=after) for after in range(3)),
    *(Scenario("tok_approve", expire_after=after) for after in range(3)),
    Scenario("tok_decline", cancel_after=1),
    Scenario("tok_webhook", cancel_after=1),
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a run: nothing, a crash at the n-th crossing, or the n-th delivery repeated or exchanged."""

    kind: str = "none"
    at: int = 0

    def __str__(self) -> str:
        """As a line of the report."""
        return "no fault" if self.kind == "none" else f"{self.kind} at {self.at}"


@dataclass
class Run:
    """One run: what happened in it, the states it went through, and what was wrong in the end."""

    scenario: Scenario
    fault: Fault
    trace: list[str] = field(default_factory=list)
    states: set[str] = field(default_factory=set)
    deliveries: int = 0
    crossings: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass
class Report:
    """All runs of an exploration."""

    runs: int = 0
    states: set[str] = field(default_factory=set)
    failed: list[Run] = field(default_factory=list)

    @property
    def shortest(self) -> Run | None:
        """The failed run with the least in it."""
        return min(self.failed, key=lambda run: (run.fault.kind != "none", len(run.trace)), default=None)


async def explore(world: World, scenarios: Sequence[Scenario] = SCENARIOS) -> AsyncIterator[tuple[Run, Report]]:
    """Every run, with the report so far."""
    report = Report()
    for scenario in scenarios:
        plain = await run(world, scenario, Fault())
        faults = [
            *(Fault("crash", number + 1) for number in range(plain.crossings)),
            *(Fault("repeated", number) for number in range(plain.deliveries)),
            *(Fault("exchanged", number) for number in range(plain.deliveries)),
        ]
        for one in [plain, *faults]:
            done = one if isinstance(one, Run) else await run(world, scenario, one)
            report.runs += 1
            report.states |= done.states
            if done.violations:
                report.failed.append(done)
            yield done, report


async def run(world: World, scenario: Scenario, fault: Fault) -> Run:
    """One run from an empty world to rest."""
    this = Run(scenario, fault)
    await world.reset(Faults(fault.at if fault.kind == "crash" else None))
    order_id = await _place(world, this)
    acknowledged = await _deliver_all(world, this, order_id)
    this.crossings = len(world.faults.crossed)
    # Rest: what the timers find is done, and what comes of that.
    acknowledged += await _rest(world, this)
    this.violations += await _violations(world, acknowledged)
    if not this.violations:
        this.trace.append("everything is delivered once more")
        for delivery in acknowledged:
            await world.deliver(delivery)
        acknowledged += await _rest(world, this)
        this.violations += await _violations(world, acknowledged)
    return this


async def _place(world: World, this: Run) -> str:
    """Place the order, again with the same key until there is an answer, as a careful client does."""
    body = {"amount": "99.50", "currency": "EUR", "payment_token": this.scenario.token}
    for _ in range(3):
        this.trace.append("POST /orders/")
        answer = await world.call("orders-place", "POST", "/orders/", json=body, headers={**bearer(), **_KEY})
        _died(world, this)
        if answer is not None and answer.status_code == 202:
            return str(answer.json()["order_id"])
    this.violations.append("the order was not accepted")
    return "none"


async def _deliver_all(world: World, this: Run, order_id: str) -> list[Delivery]:
    acknowledged: list[Delivery] = []
    scenario, pending = this.scenario, world.broker.pending
    cancelled, expired = scenario.cancel_after is None, scenario.expire_after is None
    for number in range(_ATTEMPTS_MAX):
        this.states.add(await world.state())
        if not cancelled and (number >= (scenario.cancel_after or 0) or not pending):
            cancelled = await _cancel(world, this, order_id)
        if not expired and (number >= (scenario.expire_after or 0) or not pending):
            expired = True
            this.trace.append("orders-expire wakes")
            await world.deliver(Delivery("orders-expire", PING))
            if _died(world, this):
                await world.deliver(Delivery("orders-expire", PING))
        if not pending:
            break
        exchanged = this.fault == Fault("exchanged", number) and len(pending) > 1
        delivery = pending.pop(1 if exchanged else 0)
        acknowledged += await _deliver(world, this, delivery)
        if this.fault == Fault("repeated", number):
            acknowledged += await _deliver(world, this, delivery)
        this.deliveries += 1
    return acknowledged


async def _deliver(world: World, this: Run, delivery: Delivery) -> list[Delivery]:
    taken = await world.deliver(delivery)
    this.trace.append(f"{delivery}{'' if taken else ': not acknowledged'}")
    _died(world, this)
    if taken:
        return [delivery]
    # It comes again, behind the others.
    world.broker.pending.append(delivery)
    return []


async def _cancel(world: World, this: Run, order_id: str) -> bool:
    for _ in range(3):
        this.trace.append("POST /orders/ID/cancel")
        answer = await world.call("orders-cancel", "POST", f"/orders/{order_id}/cancel", headers=bearer())
        _died(world, this)
        if answer is not None:
            break
    return True


def _died(world: World, this: Run) -> bool:
    died = world.revive()
    if died:
        this.trace.append(f"  died at: {world.faults.crossed[-1]}")
    return died


async def _rest(world: World, this: Run) -> list[Delivery]:
    """Timers and deliveries in turn, until nothing is left to do."""
    acknowledged: list[Delivery] = []
    for _ in range(6):
        this.trace.append("the timers wake")
        # What waits for the processor's webhook is told by looking it up, once its time has come.
        await world.fetch("cards", "UPDATE charges SET captures_at = now() WHERE outcome = 'pending' RETURNING 1")
        await world.sweep()
        _died(world, this)
        for _ in range(_ATTEMPTS_MAX):
            if not world.broker.pending:
                break
            acknowledged += await _deliver(world, this, world.broker.pending.pop(0))
        this.states.add(await world.state())
    return acknowledged


async def _violations(world: World, acknowledged: Sequence[Delivery]) -> list[str]:
    """What must hold at rest: the books balance, one order, one charge, nothing forgotten."""
    apps = world.apps
    found = [
        one
        async for one in books.differences(
            apps["payments-charge"].state.database,
            apps["orders-place"].state.database,
            world.simulator,
            under_way=timedelta(0),
        )
    ]
    orders = await world.fetch("orders", "SELECT count(*) FROM orders")
    if orders[0]["count"] != 1:
        found.append(f"one request became {orders[0]['count']} orders")
    if world.broker.pending:
        found.append(f"{world.broker.pending[0]} is never acknowledged")
    handled = {
        (row["consumer"], row["id"])
        for area in ("orders", "payments")
        for row in await world.fetch(area, "SELECT consumer, id FROM inbox")
    }
    found += [
        f"{one} was acknowledged, and is not remembered"
        for one in acknowledged
        if (one.function, one.event.id) not in handled
    ]
    return found
