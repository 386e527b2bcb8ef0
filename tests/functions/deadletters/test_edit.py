"""deadletters-edit: another event, that knows which one it was; the original stays."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from eventing.event import Event, compact
from functions.deadletters import differences
from tests.functions.deadletters.conftest import ADMIN, ORDER_ID, Workbench, captured

RIGHT = {"order_id": ORDER_ID, "amount": "99.50", "currency": "EUR"}


async def test_an_edited_event_has_an_id_of_its_own(workbench: Workbench) -> None:
    """And the original's as its cause; who, when, before, after and why are kept, and the original as it came."""
    event = captured(data=b'{ "amount": 1 }')
    letter_id = await workbench.failed(event)
    answer = await workbench.edit(letter_id, {"data": RIGHT, "attributes": {"subject": "s"}, "reason": "a typo"})
    shown = await workbench.shown(letter_id)
    (change,) = shown["changes"]
    edited = shown["edit"]

    assert answer.status_code == 200, answer.text
    assert (shown["data"], shown["attributes"]["id"]) == ('{ "amount": 1 }', event.id)
    assert json.loads(edited["data"]) == RIGHT
    assert edited["attributes"]["id"] != event.id
    assert (edited["attributes"]["causationid"], edited["attributes"]["subject"]) == (event.id, "s")
    assert (change["what"], change["who"], change["why"]) == ("edited", "root", "a typo")
    assert base64.b64decode(change["before"]["data_base64"]) == event.data
    assert change["after"]["data"] == RIGHT
    assert {"path": "data.amount", "before": 1, "after": "99.50"} in shown["edit_differences"]


async def test_an_edit_that_is_taken_back_is_the_original_again(workbench: Workbench) -> None:
    """Under its own id, and both edits are on record."""
    event = captured()
    letter_id = await workbench.failed(event)
    await workbench.edit(letter_id, {"data": {}, "reason": "a mistake"})
    await workbench.edit(letter_id, {"data_base64": base64.b64encode(event.data).decode(), "reason": "back"})
    shown = await workbench.shown(letter_id)

    assert (shown["edit"], shown["edit_differences"], len(shown["changes"])) == (None, [], 2)


async def test_who_has_not_seen_the_latest_version_is_refused(workbench: Workbench) -> None:
    """412 with If-Match of an older version, also where a failure came meanwhile; the newest passes."""
    letter_id = await workbench.failed(captured())
    shown = await workbench.functions["show"].client.get(f"/deadletters/{letter_id}", headers=ADMIN)
    tag = shown.headers["etag"]
    taken = await workbench.edit(letter_id, {"data": 1, "reason": "x"}, **{"if-match": tag})
    stale = await workbench.edit(letter_id, {"data": 2, "reason": "x"}, **{"if-match": tag})
    fresh = await workbench.edit(letter_id, {"data": 2, "reason": "x"}, **{"if-match": taken.headers["etag"]})

    assert [answer.status_code for answer in (taken, stale, fresh)] == [200, 412, 200]


WRONG: list[tuple[Any, str]] = [
    ({"data": 1}, "reason"),
    ({"data": 1, "reason": ""}, "reason"),
    ({"reason": "x"}, "there is nothing to change"),
    ({"data": 1, "data_base64": "", "reason": "x"}, "give one"),
    ({"data_base64": "§", "reason": "x"}, "data_base64"),
    ({"attributes": {"id": "2"}, "reason": "x"}, "cannot be edited"),
    ({"attributes": {"causationid": "2"}, "reason": "x"}, "cannot be edited"),
    ({"attributes": {"type": None}, "reason": "x"}, "no type"),
    ({"attributes": {"Not A Name": "x"}, "reason": "x"}, "attributes"),
    ({"attributes": {"time": "now"}, "reason": "x"}, "attributes"),
    ({"attributes": {"subject": 1}, "reason": "x"}, "attributes.subject"),
    ({"data": 1, "reason": "x", "rason": "y"}, "rason"),
]


async def test_a_body_that_is_not_right_is_refused(workbench: Workbench) -> None:
    """422 that names the field, and nothing is written."""
    letter_id = await workbench.failed(captured())
    for body, said in WRONG:
        answer = await workbench.edit(letter_id, body)
        assert (answer.status_code, said in answer.text) == (422, True), (body, answer.text)
    assert (await workbench.shown(letter_id))["changes"] == []


async def test_what_was_decided_is_not_edited(workbench: Workbench) -> None:
    """409 after a discard."""
    letter_id = await workbench.failed(captured())
    await workbench.post("discards", {"id": letter_id, "reason": "a test"})

    assert (await workbench.edit(letter_id, {"data": 1, "reason": "x"})).status_code == 409


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@example({"a.b": 1}, {"a": {"b": 1}})
@example({"a": [1]}, {"a": {"0": 1}})
@example(1, True)
@example({"a": None}, {})
@given(JSON, JSON)
def test_two_events_differ_where_their_data_does(one: Any, other: Any) -> None:
    """No difference is invented, and none is lost."""
    events = [
        Event(id="1", source="/a", type="t", datacontenttype="application/json", data=compact(data))
        for data in (one, other)
    ]
    found = differences.between(*events)

    assert bool(found) == (compact(one) != compact(other))
