"""outbox-relay and republish: what a crash left is sent, and a broker that lost everything is filled again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventing.event import Event
from functions.outbox.republish import moment, republish
from knative.runtime import child
from tests.functions.conftest import bearer
from tests.servers import quiet

# Orders are placed here, and orders asks users about the buyer.
pytestmark = pytest.mark.usefixtures("buyers")

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
PING = Event(id="1", source="/apis/v1/namespaces/shop/pingsources/outbox-relay", type="dev.knative.sources.ping")


@pytest.fixture
async def sink(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """A sink, and the ids that it took."""
    taken: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        taken.append(next(line[7:] for line in head.split("\r\n") if line.startswith("ce-id: ")))
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(quiet(take), "127.0.0.1", 0) as server:
        monkeypatch.setenv("THE_SINK", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        yield taken


async def placed(serve: Any) -> Any:
    """orders-place whose process was killed between commit and publish: it has no sink."""
    served = await serve("orders.place")
    for _ in range(3):
        await served.client.post("/orders/", json=ORDER, headers=bearer("ada"))
    await served.sql("UPDATE outbox SET created_at = created_at - interval '1 minute' RETURNING 1")
    return served


async def test_what_was_left_is_published_once(serve: Any, sink: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row, in its order; a second ping finds nothing. Also two at once."""
    place = await placed(serve)
    monkeypatch.delenv("DATABASE_URL")
    relay = await serve("outbox.relay", "orders", K_SINK=os.environ["THE_SINK"], ORDERS_DATABASE_URL=place.database_url)
    answers = await asyncio.gather(*(relay.post_event(PING) for _ in range(2)))
    rows = await place.sql("SELECT id, published_at FROM outbox ORDER BY seq")

    assert {answer.status_code for answer in answers} == {204}
    assert sorted(sink) == [row["id"] for row in rows]
    assert all(row["published_at"] for row in rows)


async def test_what_was_committed_just_now_is_waited_for(serve: Any, sink: list[str]) -> None:
    """A PingSource that fires once after a crash leaves nothing for the next one, minutes later."""
    place = await serve("orders.place")
    await place.client.post("/orders/", json=ORDER, headers=bearer("ada"))
    relay = await serve("outbox.relay", "orders", K_SINK=os.environ["THE_SINK"], ORDERS_DATABASE_URL=place.database_url)

    assert (await relay.post_event(PING)).status_code == 204
    assert len(sink) == 1


async def test_while_the_broker_is_away_it_asks_to_be_called_again(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the rows stay."""
    place = await placed(serve)
    relay = await serve("outbox.relay", "orders", K_SINK="http://127.0.0.1:9/", ORDERS_DATABASE_URL=place.database_url)
    answer = await relay.post_event(PING)

    assert answer.status_code == 503
    assert len(await place.sql("SELECT 1 FROM outbox WHERE published_at IS NULL")) == 3


async def test_an_area_that_is_away_holds_no_other_up(serve: Any, sink: list[str]) -> None:
    """The users' database cannot be reached: what the orders left is published, and the users' is asked for again."""
    place = await placed(serve)
    away = {"USERS_DATABASE_URL": f"postgresql://nobody@127.0.0.1:{child.free_port()}/users"}
    settings = {"K_SINK": os.environ["THE_SINK"], "ORDERS_DATABASE_URL": place.database_url}
    relay = await serve("outbox.relay", "orders", **settings, **away)
    answer = await relay.post_event(PING)

    assert answer.status_code == 503
    assert len(sink) == 3


async def test_republish_sends_what_was_published_again(
    serve: Any, sink: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same ids; what was never published is the relay's."""
    place = await placed(serve)
    await place.sql("UPDATE outbox SET published_at = now() WHERE seq <= 2 RETURNING 1")
    monkeypatch.setenv("K_SINK", os.environ["THE_SINK"])
    monkeypatch.setenv("ORDERS_DATABASE_URL", place.database_url)
    count = await republish(datetime.now(UTC) - timedelta(hours=1))

    assert count == 2
    assert sink == [row["id"] for row in await place.sql("SELECT id FROM outbox ORDER BY seq LIMIT 2")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", "2026-11-24T10:30:00+00:00"),
        ("2h", "2026-11-24T10:00:00+00:00"),
        ("3d", "2026-11-21T12:00:00+00:00"),
        ("2026-11-24T11:00:00Z", "2026-11-24T11:00:00+00:00"),
    ],
)
def test_a_time_is_a_moment_or_how_long_ago(text: str, expected: str) -> None:
    """RFC 3339, or minutes, hours and days."""
    assert moment(text, datetime(2026, 11, 24, 12, tzinfo=UTC)).isoformat() == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-11-24T11:00:00", "2 h", "01a21218-56d8-7b1e-8423-5ab0fb617f40"])
def test_anything_else_is_refused(text: str) -> None:
    """Also a time without an offset, which would be another moment on another machine."""
    with pytest.raises(ValueError, match=r"."):
        moment(text, datetime.now(UTC))
