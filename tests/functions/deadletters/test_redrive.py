"""deadletters-redrive, -dry-run and -discard: sent once, to the function that failed, and to nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from functions.deadletters import redrive
from functions.events import OrdersEventRefused
from tests.functions.deadletters.conftest import NOBODY, ORDER_ID, Workbench, captured

WRONG = b'{"order_id": "' + NOBODY.encode() + b'", "amount": "99.50", "currency": "EUR"}'
RIGHT = {"order_id": ORDER_ID, "amount": "99.50", "currency": "EUR"}


async def test_a_redriven_event_is_handled(workbench: Workbench) -> None:
    """The order is confirmed, the letter redriven, with who did it and what the function answered."""
    letter_id = await workbench.failed(captured())

    assert await workbench.redriven({"ids": [letter_id]}) == [("handled", None)]
    shown = await workbench.shown(letter_id)
    assert (await workbench.statuses(), shown["state"], shown["attempts_made"]) == (["confirmed"], "redriven", 2)
    assert [(one["what"], one["who"]) for one in shown["changes"]] == [("redriven", "root")]
    assert shown["attempts"][-1]["code"] == "204"


async def test_the_same_redrive_again_and_at_once_does_it_once(workbench: Workbench) -> None:
    """One is sent; the others are told that it was, or that it is just being sent."""
    letter_id = await workbench.failed(captured())
    results = await asyncio.gather(*(workbench.redriven({"ids": [letter_id, letter_id]}) for _ in range(4)))
    outcomes = sorted(outcome for ((outcome, _),) in results)

    assert outcomes.count("handled") == 1
    assert set(outcomes) <= {"handled", "already", "skipped"}
    assert await workbench.redriven({"ids": [letter_id]}) == [("already", "The dead letter was redriven, and handled.")]
    assert (await workbench.shown(letter_id))["attempts_made"] == 2


async def test_whoever_was_killed_after_sending_does_no_harm(workbench: Workbench) -> None:
    """The letter is free again after a while, and the consumer's inbox knows the event."""
    letter_id = await workbench.failed(captured())
    await workbench.redriven({"ids": [letter_id]})
    await workbench.functions["keep"].sql(
        "UPDATE dead_letters SET state = 'kept', redriving_until = now() + interval '1 minute' RETURNING 1"
    )
    ((busy, why),) = await workbench.redriven({"ids": [letter_id]})
    await workbench.functions["keep"].sql("UPDATE dead_letters SET redriving_until = now() RETURNING 1")

    assert (busy, "at this moment" in str(why)) == ("skipped", True)
    assert await workbench.redriven({"ids": [letter_id]}) == [("handled", None)]
    assert [kind for kind, _ in await workbench.confirm.outbox()] == ["orders.confirmed.v1"]


async def test_one_that_is_refused_again_stays_the_same_letter(workbench: Workbench) -> None:
    """With one more attempt; the function's own event about it comes to that letter, and is no attempt more."""
    letter_id = await workbench.refused(captured(data=WRONG))
    first = await workbench.redriven({"ids": [letter_id]})
    await workbench.edit(letter_id, {"data": {}, "reason": "worse"})
    second = await workbench.redriven({"ids": [letter_id]})
    told = [data for kind, data in await workbench.confirm.outbox() if kind.endswith("refused.v1")]
    await workbench.functions["keep"].post_event(OrdersEventRefused(**told[-1]))
    (letter,) = await workbench.listed()

    assert (first[0], second[0][0]) == (("refused", "There is no such order."), "refused")
    assert (letter["id"], letter["state"], letter["attempts_made"]) == (letter_id, "kept", 3)


async def test_an_edited_event_is_handled(workbench: Workbench) -> None:
    """What was refused, put right, tried and sent."""
    letter_id = await workbench.refused(captured(data=WRONG))
    before = (await workbench.post("dry-runs", {"id": letter_id})).json()
    await workbench.edit(letter_id, {"data": RIGHT, "reason": "the wrong order"})
    after = (await workbench.post("dry-runs", {"id": letter_id})).json()

    assert (before["would"], before["reason"]) == ("refuse", "There is no such order.")
    assert (after["would"], [one["type"] for one in after["records"]]) == ("handle", ["orders.confirmed.v1"])
    assert await workbench.statuses() == ["placed"]
    assert await workbench.redriven({"ids": [letter_id]}) == [("handled", None)]
    assert await workbench.statuses() == ["confirmed"]


async def test_a_failure_after_a_redrive_brings_the_letter_back(workbench: Workbench) -> None:
    """Kept again, with the failure on record."""
    event = captured()
    letter_id = await workbench.failed(event)
    await workbench.redriven({"ids": [letter_id]})
    await workbench.failed(event, knativearrivaltime="2026-11-25T09:00:00Z")
    shown = await workbench.shown(letter_id)

    assert (shown["state"], [one["what"] for one in shown["changes"]]) == ("kept", ["redriven", "failed-again"])


async def test_a_destination_that_is_no_subscriber_is_never_called(workbench: Workbench) -> None:
    """Whatever a forged event says; 409 to a dry run, and a redrive says why it was not sent."""
    for destination in ("http://169.254.169.254/latest", "http://users-register.shop.svc.cluster.local"):
        letter_id = await workbench.failed(captured(), destination)
        ((outcome, reason),) = await workbench.redriven({"ids": [letter_id]})

        assert (outcome, "no Trigger's subscriber" in str(reason)) == ("skipped", True)
        assert (await workbench.post("dry-runs", {"id": letter_id})).status_code == 409
        assert (await workbench.shown(letter_id))["state"] == "kept"


async def test_many_are_sent_by_a_filter_the_oldest_first(workbench: Workbench) -> None:
    """What was decided already is passed over; what fails is counted, and the others go on."""
    wrong = await workbench.failed(captured(data=WRONG))
    right = await workbench.failed(captured())
    other = await workbench.failed(captured(type="orders.placed.v1"))
    answer = (await workbench.post("redrives", {"type": "payments.captured.v1"})).json()

    assert [(one["id"], one["outcome"]) for one in answer["results"]] == [(wrong, "refused"), (right, "handled")]
    assert answer["next"] is None
    assert (await workbench.shown(other))["attempts_made"] == 1


@pytest.mark.parametrize("how", ["filter", "ids"])
async def test_a_long_one_goes_on_with_the_next_call(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Each call ends after a while, and says how to go on; each letter has one turn."""
    ids = [await workbench.failed(captured(data=WRONG)) for _ in range(4)]
    monkeypatch.setattr(redrive, "_LASTS_SECONDS", 0.0)
    body: Any = {"all": True} if how == "filter" else {"ids": ids}
    seen, calls = [], 0
    while body is not None:
        answer = (await workbench.post("redrives", body)).json()
        seen += [one["id"] for one in answer["results"]]
        body, calls = answer["next"], calls + 1

    assert (seen, calls >= 4) == (ids, True)


async def test_it_is_never_faster_than_was_set(workbench: Workbench) -> None:
    """Also where several ask at once."""
    app = workbench.functions["redrive"].app
    app.state.pace._interval = 0.05
    ids = [await workbench.failed(captured(data=WRONG)) for _ in range(4)]
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(workbench.redriven({"ids": [one]}) for one in ids))

    assert asyncio.get_running_loop().time() - began >= 0.15


async def test_a_body_that_does_not_say_which_is_refused(workbench: Workbench) -> None:
    """Nothing at all is not everything."""
    bodies = [{}, {"ids": ["x"]}, {"ids": [ORDER_ID], "all": True}, {"all": "yes"}, {"since": "now"}, {"tpye": "x"}]
    answers = [await workbench.post("redrives", body) for body in bodies]

    assert [answer.status_code for answer in answers] == [422] * len(bodies)


async def test_an_unknown_letter_is_said_to_be_none(workbench: Workbench) -> None:
    """404 alone, `skipped` among others."""
    assert (await workbench.post("discards", {"id": NOBODY, "reason": "x"})).status_code == 404
    assert (await workbench.post("dry-runs", {"id": NOBODY})).status_code == 404
    assert await workbench.redriven({"ids": [NOBODY]}) == [("skipped", "There is no such dead letter.")]


async def test_a_discarded_letter_stays_on_record_and_is_never_sent(workbench: Workbench) -> None:
    """With the first reason, also when it is discarded again; a later failure adds to it and does not reopen it."""
    event = captured()
    letter_id = await workbench.failed(event)
    answers = [await workbench.post("discards", {"id": letter_id, "reason": why}) for why in ("a test", "again")]
    await workbench.failed(event, knativearrivaltime="2026-11-25T09:00:00Z")
    ((outcome, _),) = await workbench.redriven({"ids": [letter_id]})
    shown = await workbench.shown(letter_id)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (outcome, shown["state"], shown["attempts_made"]) == ("skipped", "discarded", 2)
    assert [(one["what"], one["why"]) for one in shown["changes"]] == [("discarded", "a test")]


async def test_a_redriven_letter_is_not_discarded(workbench: Workbench) -> None:
    """409."""
    letter_id = await workbench.failed(captured())
    await workbench.redriven({"ids": [letter_id]})

    assert (await workbench.post("discards", {"id": letter_id, "reason": "x"})).status_code == 409
