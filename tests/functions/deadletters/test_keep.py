"""deadletters-keep, -list and -show."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from eventing.event import Event, new_id
from functions.events import OrdersEventRefused
from tests.functions.conftest import bearer

ADMIN = bearer("root", "admin")


def undelivered(**extensions: str) -> Event:
    """An event as a Broker sends it to a dead letter sink."""
    errors = {
        "knativeerrordest": "http://payments-charge.shop.svc.cluster.local",
        "knativeerrorcode": "503",
        "knativeerrordata": base64.b64encode(b"away\0").decode(),
    }
    return Event(
        id=new_id(),
        source="/wake/orders",
        type="orders.placed.v1",
        subject="o-1",
        datacontenttype="application/json",
        extensions={**errors, **extensions},
        data=b'{"a":1}',
    )


async def test_an_undelivered_event_is_kept_once_with_why(serve: Any) -> None:
    """Twice the same is one; the answer's start is readable, the data as it was."""
    served = await serve("deadletters.keep")
    event = undelivered()
    answers = [await served.post_event(event) for _ in range(2)]
    listed = (await (await serve("deadletters.list")).client.get("/deadletters/", headers=ADMIN)).json()
    (letter,) = listed["items"]
    show = await serve("deadletters.show")
    whole = (await show.client.get(f"/deadletters/{letter['id']}", headers=ADMIN)).json()

    assert {answer.status_code for answer in answers} == {204}
    assert ("undeliverable", "503", "away\ufffd", event.id) == (
        letter["kind"],
        letter["code"],
        letter["answer"],
        letter["event_id"],
    )
    assert (whole["data"], whole["attributes"]["subject"]) == ('{"a":1}', "o-1")


async def test_the_same_event_from_two_destinations_is_two(serve: Any) -> None:
    """Each Trigger's failure is one of its own."""
    served = await serve("deadletters.keep")
    event = undelivered()
    await served.post_event(event)
    await served.post_event(event.with_extensions(knativeerrordest="http://audit-record.shop.svc.cluster.local"))

    assert len(await served.sql("SELECT 1 FROM dead_letters")) == 2


async def test_a_refused_event_is_kept_as_such(serve: Any) -> None:
    """With the reason in its data."""
    served = await serve("deadletters.keep")
    await served.post_event(
        OrdersEventRefused(event_id="1", event={}, reason="no such order", function="orders-confirm")
    )

    assert [tuple(row) for row in await served.sql("SELECT kind FROM dead_letters")] == [("refused",)]


@pytest.mark.parametrize("path", ["/deadletters/", "/deadletters/01a20b76-4eb5-7c00-90cb-bcd920daa209"])
async def test_only_an_admin_sees_them(serve: Any, path: str) -> None:
    """403 to a customer, 401 to nobody."""
    served = await serve("deadletters.list" if path.endswith("s/") else "deadletters.show", "deadletters")

    assert (await served.client.get(path, headers=bearer("ada"))).status_code == 403
    assert (await served.client.get(path)).status_code == 401


@pytest.mark.parametrize("letter", ["x", "01a20b76-4eb5-7c00-90cb-bcd920daa209"])
async def test_what_is_not_there_is_a_404(serve: Any, letter: str) -> None:
    """Also what is no id."""
    served = await serve("deadletters.show")

    assert (await served.client.get(f"/deadletters/{letter}", headers=ADMIN)).status_code == 404
