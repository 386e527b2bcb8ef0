"""The ledger: balanced and append-only by the database itself, whatever is done to a payment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from eventing.transaction import Transaction
from functions.money import Money
from functions.payments import payments, settlement
from functions.payments.cards.port import Captured
from functions.payments.payment import MOVES, NOT_WANTED, OPEN
from tests.functions.payments.conftest import ORDER_ID, Cards, placed


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET minor = 1",
        "DELETE FROM entries",
        "TRUNCATE entries",
        "UPDATE transfers SET reason = 'x'",
        "DELETE FROM transfers",
        "TRUNCATE transfers CASCADE",
    ],
)
async def test_what_was_booked_stays(serve: Any, cards: Cards, statement: str) -> None:
    """The database refuses to change, delete or truncate it."""
    served = await serve("payments.charge")
    await served.post_event(placed())
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await served.sql(statement)


@pytest.mark.parametrize("minors", [(100, -99), (100,), (100, 100)])
async def test_what_does_not_balance_is_not_booked(serve: Any, cards: Cards, minors: tuple[int, ...]) -> None:
    """Refused at the commit."""
    served = await serve("payments.charge")
    await served.post_event(placed("tok_decline"))
    connection = await asyncpg.connect(served.database_url)
    try:
        with pytest.raises(asyncpg.CheckViolationError, match="does not balance"):
            async with connection.transaction():
                transfer = await connection.fetchval(
                    "INSERT INTO transfers (id, order_id, kind, key) VALUES (gen_random_uuid(), $1, 'capture', 'k')"
                    " RETURNING id",
                    ORDER_ID,
                )
                for account, minor in zip(("processor", "sales"), minors, strict=False):
                    await connection.execute(
                        "INSERT INTO entries VALUES ($1, $2, $3, $4, 'EUR')", transfer, ORDER_ID, account, minor
                    )
    finally:
        await connection.close()


def test_every_state_can_be_left_or_is_an_end() -> None:
    """No move leads nowhere; nothing that is open is an end; captured late is always given back."""
    assert {to for moves in MOVES.values() for to in moves} <= MOVES.keys()
    assert all(MOVES[state] for state in OPEN)
    assert {state for state, moves in MOVES.items() if "captured" in moves} == OPEN | NOT_WANTED.keys()


class Books(RuleBasedStateMachine):
    """Any sequence of captures and refunds, by the functions' own code, on a real database."""

    runner: asyncio.Runner
    connection: asyncpg.Connection[asyncpg.Record]

    def __init__(self) -> None:
        super().__init__()
        self.orders: dict[UUID, tuple[int, int]] = {}
        self.count = 0

    @rule(minor=st.integers(1, 10**6))
    def capture(self, minor: int) -> None:
        """A new order, paid; told twice, booked once."""
        self.runner.run(self._capture(uuid4(), minor))

    async def _capture(self, order_id: UUID, minor: int) -> None:
        async with self.connection.transaction():
            transaction = Transaction(self.connection)
            payment = await payments.begin(transaction, order_id, "ada", Money(minor, "EUR"), "tok")
            await settlement.settle(transaction, payment, Captured(), "capture")
            await settlement.settle(transaction, await payments.lock(transaction, order_id), Captured(), "capture")
        self.orders[order_id] = (minor, 0)

    @precondition(lambda self: bool(self.orders))
    @rule(data=st.data(), part=st.integers(1, 100))
    def refund(self, data: st.DataObject, part: int) -> None:
        """A part of what is left of one; done twice, booked once."""
        order_id = data.draw(st.sampled_from(sorted(self.orders)))
        captured, refunded = self.orders[order_id]
        minor = min(captured - refunded, max(1, captured * part // 100))
        if minor > 0:
            self.runner.run(self._refund(order_id, minor))
            self.orders[order_id] = (captured, refunded + minor)

    async def _refund(self, order_id: UUID, minor: int) -> None:
        self.count += 1
        key = f"{order_id}:{self.count}"
        async with self.connection.transaction():
            transaction = Transaction(self.connection)
            payment = await payments.lock(transaction, order_id)
            assert payment.refundable_minor >= minor
            await payments.ask_refund(transaction, payment, key, minor, "a test")
            assert await payments.refund_is_done(transaction, key)
            assert not await payments.refund_is_done(transaction, key)
            await payments.book(transaction, payment, "refund", key, minor, "a test")

    @invariant()
    def sums(self) -> None:
        """The ledger of these orders is zero; each one's balance is what was done to it."""
        rows = self.runner.run(
            self.connection.fetch(
                "SELECT order_id, sum(minor) FILTER (WHERE account = 'processor')::int AS ours, sum(minor)::int AS zero"
                " FROM entries WHERE order_id = ANY($1) GROUP BY order_id",
                list(self.orders),
            )
        )
        assert {row["order_id"]: row["ours"] for row in rows} == {
            order_id: captured - refunded for order_id, (captured, refunded) in self.orders.items()
        }
        assert all(row["zero"] == 0 for row in rows)


def test_random_sequences_keep_the_ledger_at_zero(database_url: Callable[[str], str]) -> None:
    """As many as LEDGER_SEQUENCES says; `make explore` runs ten thousand."""
    sequences = int(os.environ.get("LEDGER_SEQUENCES", "60"))
    with asyncio.Runner() as runner:
        Books.runner, Books.connection = runner, runner.run(asyncpg.connect(database_url("payments")))
        try:
            run_state_machine_as_test(  # type: ignore[no-untyped-call]
                Books, settings=settings(max_examples=sequences, stateful_step_count=10, deadline=None, database=None)
            )
        finally:
            runner.run(Books.connection.close())
