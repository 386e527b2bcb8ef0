"""deadletters-keep: every failure of an event is one letter, with all that is known of its attempts."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from eventing.attempts import Attempt, encode
from eventing.event import Event, new_id
from functions.events import OrdersEventRefused
from tests.functions.deadletters.conftest import NOBODY, Workbench, captured

CHARGE = "http://payments-charge.shop.svc.cluster.local"


def undelivered(**extensions: str | None) -> Event:
    """An event as a Broker sends it to a dead letter sink."""
    errors = {
        "knativeerrordest": CHARGE,
        "knativeerrorcode": "503",
        "knativeerrordata": base64.b64encode(b"away\0").decode(),
        "knativearrivaltime": "2026-11-25T08:00:00Z",
    }
    event = Event(
        id=new_id(),
        source="/wake/orders",
        type="orders.placed.v1",
        subject="o-1",
        datacontenttype="application/json",
        data=b'{"a":1}',
    )
    return event.with_extensions(**{**errors, **extensions})


def history(*numbers: int) -> str | None:
    """What our own Broker tells of these attempts."""
    at = datetime(2026, 11, 25, 8, tzinfo=UTC)
    return encode([Attempt(number, at + timedelta(seconds=number), 503, "away") for number in numbers])


async def test_an_undelivered_event_is_kept_once_with_why(workbench: Workbench) -> None:
    """Twice the same is one; the answer's start is readable, the data and attributes as they were before it failed."""
    event = undelivered()
    for _ in range(2):
        assert (await workbench.functions["keep"].post_event(event)).status_code == 204
    (letter,) = await workbench.listed()
    whole = await workbench.shown(letter["id"])

    assert ("undeliverable", "kept", "503", "away\ufffd", event.id, 1) == tuple(
        letter[name] for name in ("kind", "state", "code", "answer", "event_id", "attempts_made")
    )
    assert (whole["data"], whole["attributes"]["subject"]) == ('{"a":1}', "o-1")
    assert not any(name.startswith("knativeerror") for name in whole["attributes"])


async def test_every_attempt_is_kept(workbench: Workbench) -> None:
    """Time, code, answer and destination of each that the Broker tells of."""
    await workbench.functions["keep"].post_event(undelivered(wakeattempts=history(1, 2, 3)))
    (letter,) = await workbench.listed()
    attempts = (await workbench.shown(letter["id"]))["attempts"]

    assert letter["attempts_made"] == 3
    assert attempts[1] == {
        "at": "2026-11-25T08:00:02Z",
        "number": 2,
        "destination": CHARGE,
        "code": "503",
        "answer": "away",
    }


async def test_attempts_that_a_restarted_broker_forgot_are_counted(workbench: Workbench) -> None:
    """Three tries are known of eleven; the same dead letter sent again, after one more try, makes twelve."""
    event = undelivered(wakeattempts=history(9, 10, 11))
    await workbench.functions["keep"].post_event(event)
    await workbench.functions["keep"].post_event(event.with_extensions(wakeattempts=history(12)))
    (letter,) = await workbench.listed()

    assert letter["attempts_made"] == 12
    assert len((await workbench.shown(letter["id"]))["attempts"]) == 4


async def test_a_later_failure_of_the_same_event_adds_to_its_letter(workbench: Workbench) -> None:
    """It was published again, and failed again."""
    event = undelivered(wakeattempts=history(1, 2))
    await workbench.functions["keep"].post_event(event)
    again = {"knativearrivaltime": "2026-11-25T09:00:00Z", "knativeerrorcode": "500", "wakeattempts": history(1)}
    await workbench.functions["keep"].post_event(event.with_extensions(**again))
    (letter,) = await workbench.listed()

    assert (letter["attempts_made"], letter["state"]) == (3, "kept")


async def test_the_same_event_from_two_destinations_is_two(workbench: Workbench) -> None:
    """Each Trigger's failure is one of its own."""
    event = undelivered()
    await workbench.functions["keep"].post_event(event)
    await workbench.functions["keep"].post_event(event.with_extensions(knativeerrordest="http://audit-record.shop"))

    assert len(await workbench.listed()) == 2


async def test_a_refused_event_is_kept_as_itself(workbench: Workbench) -> None:
    """With the function that refused it, the reason, and the very bytes that it refused."""
    data = json.dumps({"order_id": NOBODY, "amount": "99.50", "currency": "EUR"}, indent=1).encode()
    event = captured(data=data)
    letter = await workbench.shown(await workbench.refused(event))

    assert ("refused", "payments.captured.v1", event.id, "orders-confirm", "There is no such order.") == tuple(
        letter[name] for name in ("kind", "type", "event_id", "destination", "answer")
    )
    assert base64.b64decode(letter["data_base64"]) == data


async def test_what_only_looks_refused_is_kept_as_it_came(workbench: Workbench) -> None:
    """Anybody may send such an event; nobody is named to send it to."""
    inners: list[dict[str, Any]] = [{}, {"id": "1"}, {"specversion": "1.0", "id": "1", "source": "/a", "type": ""}]
    for inner in inners:
        told = OrdersEventRefused(event_id="1", event=inner, reason="no such order", function="orders-confirm")
        await workbench.functions["keep"].post_event(told)
    kept = [(one["kind"], one["type"], one["destination"]) for one in await workbench.listed()]

    assert kept == [("refused", "orders.event-refused.v1", None)] * len(inners)
