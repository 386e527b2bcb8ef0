"""Dry runs: every function that takes events says what it would do, and does nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest

from eventing.event import Event, to_binary, to_json
from functions.app import Operation
from functions.dryrun import MEDIA_TYPE
from functions.events import (
    OrdersCancelled,
    OrdersConfirmed,
    OrdersPlaced,
    Payload,
    PaymentsCaptured,
    PaymentsDeclined,
    UsersDeactivated,
)
from functions.operations import known, load
from tests.functions.conftest import event_of
from tests.servers import quiet

ORDER_ID = "01a20b76-4eb5-7c00-90cb-bcd920daa209"
MONEY = {"order_id": ORDER_ID, "amount": "99.50", "currency": "EUR"}
PLACED = OrdersPlaced(**MONEY, username="ada", payment_token="tok_approve")
CAPTURED = PaymentsCaptured(**MONEY)
PING = Event(id="1", source="/ping", type="dev.knative.sources.ping")
ORDER = (
    "INSERT INTO orders VALUES ($1, 'ada', 9950, 'EUR', 'tok_approve', 'placed', 1, '2026-01-01', '2026-01-01')"
    " RETURNING 1"
)
PAYMENT = (
    "INSERT INTO payments (order_id, username, amount_minor, currency, payment_token, state, due_at)"
    " VALUES ($1, 'ada', 9950, 'EUR', 'tok_approve', 'initiated', now() - interval '1 hour') RETURNING 1"
)
OUTBOX = (
    "INSERT INTO outbox (source, id, attributes, data, created_at, published_at) VALUES ('/wake', $1::uuid::text,"
    """ jsonb_build_object('id', $1::uuid, 'source', '/wake', 'type', 'x'), '', now() - interval '20 days', """
)


@dataclass(frozen=True)
class Case:
    """An event that a function has something to do for: its area, what is there before, what it answers."""

    event: Event
    would: str
    records: tuple[str, ...] = ()
    area: str | None = None
    before: str = ""


CASES = {
    "deadletters-keep": Case(event_of(PLACED, extensions={"knativeerrordest": "http://x"}), "handle"),
    "orders-confirm": Case(event_of(CAPTURED), "handle", ("orders.confirmed.v1",), before=ORDER),
    "orders-forget": Case(event_of(OrdersConfirmed(order_id=ORDER_ID, username="ada", version=2)), "call"),
    "orders-reject": Case(
        event_of(PaymentsDeclined(order_id=ORDER_ID, reason="no")), "handle", ("orders.rejected.v1",), before=ORDER
    ),
    "orders-expire": Case(PING, "handle", ("orders.expired.v1",), before=ORDER),
    "outbox-relay": Case(PING, "call", area="orders", before=f"{OUTBOX} NULL) RETURNING 1"),
    "outbox-sweep": Case(PING, "call", area="orders", before=f"{OUTBOX} now() - interval '19 days') RETURNING 1"),
    "payments-charge": Case(event_of(PLACED), "call"),
    "payments-reconcile": Case(PING, "call", before=PAYMENT),
    "payments-refund": Case(event_of(OrdersCancelled(**MONEY, username="ada")), "call"),
    "payments-settle": Case(PING, "call", before=PAYMENT),
    "users-forget": Case(event_of(UsersDeactivated(username="ada", version=2)), "call"),
}


def takes_events() -> list[str]:
    """Every function that an event can be sent to."""
    apps = {name: load(name) for name in known()}
    return [
        name
        for name, app in apps.items()
        if isinstance(app, Operation) and any(getattr(one, "path", "") == "/" for one in app.routes)
    ]


@pytest.fixture
async def outside(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """Whatever is not the function itself (the Broker, the card processor): the calls that it got."""
    calls: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append((await reader.read(65536)).decode())
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async with await asyncio.start_server(quiet(take), "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("THE_SINK", f"{url}/shop/default")
        monkeypatch.setenv("CARD_PROCESSOR_URL", url)
        monkeypatch.setenv("THE_CACHE", url.replace("http:", "redis:"))
        yield calls


async def contents(url: str) -> dict[str, str]:
    """Every table of a database, whole."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            name: await connection.fetchval(f'SELECT string_agg(t::text, chr(10) ORDER BY t::text) FROM "{name}" t')
            for (name,) in tables
        }
    finally:
        await connection.close()


async def ask(served: Any, event: Event | Payload, exact: bool = True) -> httpx.Response:
    """A dry run."""
    content = to_json(event.to_event() if isinstance(event, Payload) else event, exact=exact)
    return await served.client.post("/", content=content, headers={"content-type": MEDIA_TYPE})


async def prepared(serve: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Case]:
    """A function beside its neighbours' databases, with something to do."""
    case = CASES[name]
    area, _, verb = name.partition("-")
    orders = await serve("orders.get")
    monkeypatch.setenv("ORDERS_DATABASE_URL", orders.database_url)
    around = {"K_SINK": os.environ["THE_SINK"], "CACHE_URL": os.environ["THE_CACHE"]}
    served = await serve(f"{area}.{verb.replace('-', '_')}", case.area, **around)
    if case.before:
        await served.sql(case.before, ORDER_ID)
    return served, case


def test_every_function_that_takes_events_has_a_case() -> None:
    """A new one is found here."""
    assert takes_events() == sorted(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
async def test_a_dry_run_tells_and_changes_nothing(
    serve: Any, outside: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing is written, called or published; the event sent in earnest then does write or call something."""
    served, case = await prepared(serve, name, monkeypatch)
    before = await contents(served.database_url)
    answers = [await ask(served, case.event) for _ in range(2)]
    after, calls = await contents(served.database_url), list(outside)
    await served.post_event(case.event)

    assert {answer.status_code for answer in answers} == {200}
    assert [(answer.json()["function"], answer.json()["would"]) for answer in answers] == [(name, case.would)] * 2
    assert [one["type"] for one in answers[0].json()["records"]] == list(case.records)
    assert (after, calls) == (before, [])
    assert outside or await contents(served.database_url) != before


async def test_it_says_where_the_handler_would_go_outside(serve: Any, outside: list[str]) -> None:
    """By name, and what it would have recorded until there."""
    told = (await ask(await serve("payments.charge"), PLACED)).json()

    assert told["reason"] == "it would go on by calling processor.authorise, which a dry run does not"


async def test_it_says_what_would_be_recorded(serve: Any) -> None:
    """Type, subject and data of each event."""
    served = await serve("orders.confirm")
    await served.sql(ORDER, ORDER_ID)
    (record,) = (await ask(served, CAPTURED)).json()["records"]

    assert record == {
        "type": "orders.confirmed.v1",
        "subject": ORDER_ID,
        "data": {"order_id": ORDER_ID, "username": "ada", "version": 2},
    }


async def test_what_was_handled_is_known(serve: Any) -> None:
    """By the inbox: the same id with the same bytes; with others it would be refused."""
    served = await serve("orders.confirm")
    await served.sql(ORDER, ORDER_ID)
    spaced = event_of(CAPTURED, data=CAPTURED.to_event().data.replace(b":", b" : "))
    await served.post_event(spaced)
    again = (await ask(served, spaced)).json()
    other = (await ask(served, event_of(CAPTURED, id=spaced.id))).json()

    assert (again["would"], again["reason"]) == ("skip", "it has handled this event already")
    assert (other["would"], "came again with other content" in other["reason"]) == ("refuse", True)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (event_of(CAPTURED), "There is no such order."),
        (event_of(CAPTURED, data=b'{"order_id": 1}'), "order_id: Input should be a valid string"),
        (event_of(CAPTURED, type="orders.placed.v1"), "orders-confirm does not know events of type orders.placed.v1"),
    ],
)
async def test_what_would_be_refused_is_told_with_the_reason(serve: Any, event: Event, reason: str) -> None:
    """And not recorded as refused."""
    served = await serve("orders.confirm")
    told = (await ask(served, event)).json()

    assert (told["would"], reason in told["reason"]) == ("refuse", True)
    assert await served.outbox() == []


async def test_a_database_that_is_away_is_told_as_such(serve: Any) -> None:
    """It could be handled later."""
    served = await serve("orders.confirm")
    await served.app.state.database.close()
    served.app.state.database._settings = type(served.app.state.database._settings)("postgresql://x@127.0.0.1:9/x")
    await served.app.state.database.open()

    assert (await ask(served, CAPTURED)).json()["would"] == "retry"


async def test_whoever_works_in_earnest_is_waited_for_briefly(serve: Any) -> None:
    """A locked order: it says so after half a second, and holds up nobody."""
    served = await serve("orders.confirm")
    await served.sql(ORDER, ORDER_ID)
    connection = await asyncpg.connect(served.database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM orders FOR UPDATE")
            told = (await ask(served, CAPTURED)).json()
    finally:
        await connection.close()

    assert told["reason"] == "somebody else is working on the same thing at this moment"


async def test_a_dry_run_beside_the_event_itself_takes_nothing_from_it(serve: Any) -> None:
    """Each call has its own view of the app's state."""
    served = await serve("orders.confirm")
    await served.sql(ORDER, ORDER_ID)
    event = event_of(CAPTURED)
    answers = await asyncio.gather(*(ask(served, event) for _ in range(3)), served.post_event(event))

    assert [answer.status_code for answer in answers] == [200, 200, 200, 204]
    assert {answer.json()["would"] for answer in answers[:3]} <= {"handle", "skip", "retry"}
    assert [tuple(row) for row in await served.sql("SELECT status FROM orders")] == [("confirmed",)]


async def test_a_request_that_is_half_one_and_half_the_other_is_no_event(serve: Any) -> None:
    """ce- headers are nothing to a dry run, and its body is nothing to whoever does not know dry runs."""
    served = await serve("orders.confirm")
    headers, body = to_binary(CAPTURED.to_event())
    mixed = await served.client.post("/", content=body, headers={**headers, "content-type": MEDIA_TYPE})
    unknown = await served.client.post(
        "/", content=to_json(CAPTURED.to_event()), headers={"content-type": "application/json"}
    )

    assert (mixed.status_code, unknown.status_code) == (400, 400)
