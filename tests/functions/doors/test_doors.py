"""One suite for every door, by its own feature sheet: the same result, and the same class of error. Real servers.

| door | served by | what differs |
|---|---|---|
| http | uvicorn (`python -m functions`) | |
| grpc | our own HTTP/2 | fields by their names in the .proto; the protocol sees to the shape of a body |
| func | func-python (hypercorn), the whole API in one process | |
| lambda api_gateway_v1 | AWS' runtime client | |
| lambda function_url | AWS' runtime client | headers that came twice have been joined |
| gateway, gateway grpc | the functions' YAML under `wake up`: Envoy, and functions that sleep | as of function_url |
| binary, structured, func | as above | |
| trigger | the same YAML: its Broker and its Trigger | as of nats |
| nats, rabbitmq | our Broker over the server | what comes again under its id is recognised, and not delivered |
| lambda eventbridge, sqs, sns | AWS' runtime client | what is no event comes again, and again |
"""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from eventing.event import Event, new_id
from functions.events import PaymentsCaptured
from tests.functions.conftest import Users, bearer, event_of
from tests.functions.doors import events, requests
from tests.functions.doors.conftest import Doors, Orders
from tests.functions.doors.outcomes import Outcome

# Lambda's other gateways are in tests/functions/aws/test_lambda.py: what is behind them is the same.
REQUESTS = ("http", "grpc", "gateway", "gateway grpc", "func", "lambda api_gateway_v1", "lambda function_url")
EVENTS = (
    "binary",
    "structured",
    "nats",
    "rabbitmq",
    "trigger",
    "func",
    *(f"lambda {one}" for one in ("eventbridge", "sqs", "sns")),
)
ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
SHOWN = ("username", "amount", "currency", "status")
NOBODYS = "01a20b76-4eb5-7c00-90cb-bcd920daa209"


@pytest.fixture(params=REQUESTS)
def door(request: pytest.FixtureRequest, doors: Doors) -> requests.Door:
    """Each door of requests in turn."""
    return doors.request(request.param)


@pytest.fixture(params=EVENTS)
def entry(request: pytest.FixtureRequest, doors: Doors) -> events.Door:
    """Each door of events in turn."""
    return doors.event(request.param)


async def rows(orders: Orders, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
    """Look into the database."""
    connection = await asyncpg.connect(orders.url)
    try:
        return [tuple(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()


async def recorded(orders: Orders, subject: str) -> list[str]:
    """The types of the events about something, in their order."""
    statement = "SELECT attributes->>'type' FROM outbox WHERE attributes->>'subject' = $1 ORDER BY seq"
    return [kind for (kind,) in await rows(orders, statement, subject)]


async def count(orders: Orders) -> int:
    """How many orders there are."""
    ((number,),) = await rows(orders, "SELECT count(*) FROM orders")
    return int(number)


async def test_an_order_is_placed_with_its_event(door: requests.Door, orders: Orders) -> None:
    """And shown to its buyer as it was placed."""
    placed = await door.place(bearer("ada"), new_id(), ORDER)
    shown = await door.get(bearer("ada"), placed.order["order_id"])

    assert (placed.kind, shown.kind) == ("done", "done")
    assert [placed.order[name] for name in SHOWN] == ["ada", "99.50", "EUR", "placed"]
    assert dict(shown.order) == dict(placed.order)
    assert await recorded(orders, placed.order["order_id"]) == ["orders.placed.v1"]


async def test_a_key_is_one_order(door: requests.Door, orders: Orders) -> None:
    """The same again is answered the same; another under it is refused."""
    key = new_id()
    first, again = [await door.place(bearer("ada"), key, ORDER) for _ in range(2)]
    other = await door.place(bearer("ada"), key, {**ORDER, "amount": "1.00"})

    assert dict(first.order) == dict(again.order)
    assert other.kind == "unprocessable"
    assert await recorded(orders, first.order["order_id"]) == ["orders.placed.v1"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"amount": "0.001"}, "body"),
        ({"currency": "EURO"}, "currency"),
        ({"payment_token": "tok approve"}, "payment_token"),
    ],
)
async def test_an_invalid_field_is_named(
    door: requests.Door, orders: Orders, changed: dict[str, str], field: str
) -> None:
    """As the door calls it; nothing is written."""
    before = await count(orders)
    outcome = await door.place(bearer("ada"), new_id(), {**ORDER, **changed})

    assert outcome == Outcome("unprocessable", fields=(door.features.fields.get(field, field),))
    assert await count(orders) == before


@pytest.mark.parametrize(
    ("headers", "changed", "kind"),
    [
        ({}, {}, "unauthenticated"),
        (bearer("ada", exp=1), {}, "unauthenticated"),
        (bearer("eve"), {"username": "ada"}, "forbidden"),
        (bearer("nobody"), {}, "forbidden"),
    ],
)
async def test_who_may_not_order_is_refused(
    door: requests.Door, orders: Orders, headers: dict[str, str], changed: dict[str, str], kind: str
) -> None:
    """Without a token, with a bad one, for somebody else, or as nobody who is known."""
    before = await count(orders)
    outcome = await door.place(headers, new_id(), {**ORDER, **changed})

    assert outcome == Outcome(kind)
    assert await count(orders) == before


@pytest.mark.parametrize("order_id", [NOBODYS, "7", "%41"])
async def test_an_unknown_order_is_not_found(door: requests.Door, order_id: str) -> None:
    """Whatever stands in the place of its id."""
    assert await door.get(bearer("ada"), order_id) == Outcome("not found")


async def test_somebody_elses_order_is_as_unknown(door: requests.Door) -> None:
    """Nobody can tell the two apart."""
    placed = await door.place(bearer("ada"), new_id(), ORDER)

    assert await door.get(bearer("eve"), placed.order["order_id"]) == Outcome("not found")
    assert (await door.get(bearer("root", role="admin"), placed.order["order_id"])).kind == "done"


async def test_without_its_database_it_is_unavailable_for_a_second(
    door: requests.Door, orders: Orders, users: Users
) -> None:
    """And works on when that is back, the same process."""
    key = new_id()
    # What it has open, it has when the database goes.
    await door.place(bearer("ada"), new_id(), ORDER)
    with orders.away():
        outcome = await door.place(bearer("ada"), key, ORDER)

    assert outcome == Outcome("unavailable", retry_after=1)
    assert (await door.place(bearer("ada"), key, ORDER)).kind == "done"


@pytest.mark.parametrize(
    ("body", "kind"), [(b"", "malformed"), (b'{"amount": NaN}', "malformed"), (b" " * 70_000, "too long")]
)
async def test_a_body_that_is_none_is_refused(door: requests.Door, body: bytes, kind: str) -> None:
    """Where a body can be anything."""
    if door.features.any_body:
        headers = [*bearer("ada").items(), ("content-type", "application/json")]
        assert (await door.send(headers, body)).kind == kind


async def test_a_header_that_came_twice_is_refused(door: requests.Door) -> None:
    """Where it still is two; joined to one it is no token that is known."""
    if door.features.any_body:
        headers = [*bearer("ada").items(), *bearer("eve").items(), ("content-type", "application/json")]
        outcome = await door.send(headers, b"{}")
        assert outcome.kind == ("malformed" if door.features.tells_twice else "unauthenticated")


def captured(order_id: str, **changed: Any) -> Event:
    """The event that its payment was captured."""
    return event_of(PaymentsCaptured(order_id=order_id, amount="99.50", currency="EUR"), **changed)


@pytest.fixture
async def order_id(doors: Doors) -> str:
    """An order of ada's."""
    return str((await doors.request("http").place(bearer("ada"), new_id(), ORDER)).order["order_id"])


async def status(orders: Orders, order_id: str) -> str:
    """An order's."""
    ((found,),) = await rows(orders, "SELECT status FROM orders WHERE id = $1::uuid", order_id)
    return str(found)


async def test_an_event_confirms_an_order_once(entry: events.Door, orders: Orders, order_id: str) -> None:
    """However often it comes; what follows knows what it follows from."""
    event = captured(order_id, extensions={"correlationid": "c-1"})
    verdicts = [await entry.deliver(event) for _ in range(2)]
    cause = "SELECT attributes->>'causationid', attributes->>'correlationid' FROM outbox WHERE attributes->>'type' = $1"
    following = f"{cause} AND attributes->>'subject' = $2"

    assert verdicts == ["handled", "handled"]
    assert await status(orders, order_id) == "confirmed"
    assert await recorded(orders, order_id) == ["orders.placed.v1", "orders.confirmed.v1"]
    assert await rows(orders, following, "orders.confirmed.v1", order_id) == [(event.id, "c-1")]


@pytest.mark.parametrize(
    "changed",
    [
        {"data": b'{"order_id": 7}'},
        {"data": b"{"},
        {"type": "payments.captured.v9"},
        {"data": b'{"order_id":"%b","amount":"1.00","currency":"EUR"}' % NOBODYS.encode()},
    ],
    ids=["invalid field", "no JSON", "unknown type", "unknown order"],
)
async def test_an_event_that_can_never_be_handled_is_recorded(
    entry: events.Door, orders: Orders, order_id: str, changed: dict[str, Any]
) -> None:
    """And does not come again: an error would only have it repeated."""
    event = captured(order_id, **changed)
    verdicts = [await entry.deliver(event) for _ in range(2)]

    assert verdicts == ["handled", "handled"]
    assert await status(orders, order_id) == "placed"
    assert await recorded(orders, event.id) == ["orders.event-refused.v1"]


async def test_an_id_under_which_another_event_came_is_refused(
    entry: events.Door, orders: Orders, order_id: str
) -> None:
    """The first one stands."""
    first = captured(order_id)
    other = captured(NOBODYS, id=first.id)
    verdicts = [await entry.deliver(event) for event in (first, other)]

    assert verdicts == ["handled", "handled"]
    assert await recorded(orders, first.id) == ([] if entry.features.recognises else ["orders.event-refused.v1"])
    assert await status(orders, order_id) == "confirmed"


async def test_while_the_database_is_away_an_event_comes_again(
    entry: events.Door, orders: Orders, order_id: str
) -> None:
    """And is handled then."""
    event = captured(order_id)
    with orders.away():
        before = await entry.deliver(event)
    after = await entry.deliver_again(event)

    assert (before, after) == ("again", "handled")
    assert await status(orders, order_id) == "confirmed"


@pytest.mark.parametrize("body", [b"", b"no event", b"{}", b"[]", b'{"specversion":"1.0","id":"1"}'])
async def test_what_is_no_event_is_none_anywhere(entry: events.Door, body: bytes) -> None:
    """Told so, or put aside."""
    assert await entry.deliver_raw(body) == entry.features.no_event
