"""outbox-replay: stored events to one Trigger again; a dry run says first what that would do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from functions.outbox import replay
from tests.functions.conftest import Serve, bearer, event_of
from tests.functions.deadletters.conftest import CAPTURED, NOBODY, ORDER_ID
from tests.functions.listening import listening

ADMIN = bearer("root", "admin")


@dataclass
class Replaying:
    """The function, beside orders-confirm and the payments' outbox, where two captures were published."""

    replay: Any
    confirm: Any
    ids: list[str]

    async def ask(self, **body: Any) -> list[dict[str, Any]]:
        """Replay, as often as it takes."""
        results, asked = [], {"trigger": "orders-confirm", **body}
        while asked is not None:
            answer = await self.replay.client.post("/replays", json=asked, headers=ADMIN)
            assert answer.status_code == 200, answer.text
            results += answer.json()["results"]
            asked = answer.json()["next"]
        return results


@pytest.fixture
async def replaying(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replaying]:
    """One capture is of an order that waits; the other of one that there is not."""
    confirm = await serve("orders.confirm")
    payments = await serve("payments.get")
    await confirm.sql(
        "INSERT INTO orders VALUES ($1, 'ada', 9950, 'EUR', 'tok_approve', 'placed', 1, now(), now()) RETURNING 1",
        ORDER_ID,
    )
    events = [event_of(CAPTURED), event_of(CAPTURED.model_copy(update={"order_id": NOBODY}), subject=NOBODY)]
    other = event_of(CAPTURED, type="payments.refunded.v1")
    for event in (*events, other):
        await payments.sql(
            "INSERT INTO outbox (source, id, attributes, data, published_at) VALUES ($1, $2, $3, $4, now())"
            " RETURNING 1",
            event.source,
            event.id,
            json.dumps(event.attributes),
            event.data,
        )
    async with listening(confirm.app) as url:
        spec = {"filter": {"attributes": {"type": "payments.captured.v1"}}}
        monkeypatch.setenv("ORDERS_DATABASE_URL", confirm.database_url)
        monkeypatch.setenv("PAYMENTS_DATABASE_URL", payments.database_url)
        triggers = json.dumps([{"name": "orders-confirm", "subscriber": url, "spec": spec}])
        function = await serve("outbox.replay", "orders", TRIGGERS=triggers, REDELIVERIES_PER_SECOND="1000")
        yield Replaying(function, confirm, [event.id for event in events])


async def test_a_dry_run_says_what_would_become_of_each(replaying: Replaying) -> None:
    """By the Trigger's own filter, in their order; nothing is sent."""
    found = await replaying.ask(dry_run=True)

    assert [(one["id"], one["would"]) for one in found] == list(zip(replaying.ids, ["handle", "refuse"], strict=True))
    assert found[0]["records"][0]["type"] == "orders.confirmed.v1"
    assert [row["status"] for row in await replaying.confirm.sql("SELECT status FROM orders")] == ["placed"]


async def test_a_replay_does_what_was_never_done_once(replaying: Replaying) -> None:
    """Under the same ids: the second time the consumer knows them."""
    outcomes = [[one["outcome"] for one in await replaying.ask()] for _ in range(2)]
    would = [one["would"] for one in await replaying.ask(dry_run=True)]

    assert (outcomes, would) == ([["handled", "refused"]] * 2, ["skip", "refuse"])
    recorded = sorted(kind for kind, _ in await replaying.confirm.outbox())
    assert recorded == ["orders.confirmed.v1", "orders.event-refused.v1"]


async def test_type_subject_and_time_choose(replaying: Replaying) -> None:
    """`until` is not included."""
    for body, count in (
        ({"type": "payments.captured.v1"}, 2),
        ({"type": "payments.refunded.v1"}, 0),
        ({"subject": NOBODY}, 1),
        ({"since": "2026-01-01T00:00:00Z"}, 2),
        ({"until": "2026-01-01T00:00:00Z"}, 0),
        ({"since": "2126-01-01T00:00:00Z"}, 0),
    ):
        assert len(await replaying.ask(dry_run=True, **body)) == count, body


async def test_a_long_replay_goes_on_with_the_next_call(replaying: Replaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event has one turn."""
    monkeypatch.setattr(replay, "_LASTS_SECONDS", 0.0)

    assert [one["id"] for one in await replaying.ask(dry_run=True)] == replaying.ids


async def test_who_may_and_what_is_no_trigger(replaying: Replaying) -> None:
    """401, 403, and 422 that lists those that there are."""
    body = {"trigger": "orders-confrim"}
    answers = [
        await replaying.replay.client.post("/replays", json=body, headers=who) for who in ({}, bearer("ada"), ADMIN)
    ]

    assert [answer.status_code for answer in answers] == [401, 403, 422]
    assert "there are orders-confirm" in answers[-1].text
