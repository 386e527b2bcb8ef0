"""Whom a changed event would break, as `make check` says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from functions.catalogue import payloads, schema
from functions.events import Amount, Currency, OrderId, OrdersPlaced, PaymentsCaptured
from functions.payload import Payload
from knative.runtime.manifests import load
from tests.checks import events, samples
from tests.checks.manifests import OVERLAY
from tests.checks.traffic import Reader, readers


def said(changed: type[Payload]) -> list[str]:
    """What the check says when an event of the catalogue becomes this one."""
    now = {**events.schemas(), changed.TYPE: schema(changed)}
    return list(events.incompatible(events.schemas(), now, readers(load(OVERLAY))))


class WithoutAmount(Payload):
    """payments.captured.v1 as somebody might break it."""

    TYPE: ClassVar[str] = "payments.captured.v1"
    order_id: OrderId
    total: Amount | None = None
    currency: Currency


class WithMethod(PaymentsCaptured):
    """payments.captured.v1 with one more field that it has to have."""

    method: str


class ByName(OrdersPlaced):
    """orders.placed.v1, about somebody else."""

    SUBJECT = "username"


class WithNote(PaymentsCaptured):
    """payments.captured.v1 as it may grow."""

    note: str | None = Field(None, max_length=10)


def test_nothing_breaks_who_reads_the_released_events() -> None:
    """What `make check` looks at; and no version without its schemas."""
    assert list(events.problems()) == []
    assert list(events.due()) == []


def test_a_field_that_is_gone_names_the_trigger_its_function_and_the_way_out() -> None:
    """Three sentences."""
    assert said(WithoutAmount) == [
        "payments.captured.v1: `amount` is gone, which every event had.",
        (
            "  The Trigger orders-confirm breaks: orders-confirm, where its released version still runs, would refuse"
            " or misread each payments.captured.v1 sent now."
        ),
        (
            "  Leave payments.captured.v1 as it was released and add payments.captured.v2 beside it: emit both until no"
            " Trigger wants payments.captured.v1 any more (docs/decisions/0056)."
        ),
    ]


def test_a_new_field_that_is_required_breaks_what_is_stored() -> None:
    """Outboxes, streams and dead letters hold events that lack it."""
    what, whom, _ = said(WithMethod)

    assert "`method` is required now, and events that were sent before lack it" in what
    assert "orders-confirm would refuse each payments.captured.v1 that was sent before" in whom


def test_another_subject_breaks_its_readers() -> None:
    """Order and history go by it."""
    what, whom, _ = said(ByName)

    assert "the field that is the subject was 'order_id' and is 'username'" in what
    assert "The Trigger payments-charge breaks" in whom


def test_each_trigger_is_named_and_none_that_takes_anything() -> None:
    """A function that takes an event whatever is in it does not break; where none parses it, other teams may."""
    parsing = [Reader("first", "orders-confirm", parses=True), Reader("second", "audit-record", parses=True)]
    any_event = Reader("third", "deadletters-keep", parses=False)
    released = {"a.b.v1": events.schemas()["orders.confirmed.v1"]}
    told = list(events.incompatible(released, {}, {"a.b.v1": [*parsing, any_event]}))
    to_nobody = list(events.incompatible(released, {}, {"a.b.v1": [any_event]}))

    assert [line.partition(" breaks: ")[0] for line in told[1:-1]] == ["  The Trigger first", "  The Trigger second"]
    assert to_nobody[1] == "  No function here parses a.b.v1, but other teams may, as it was released."


def test_a_field_with_a_default_breaks_nobody() -> None:
    """Within a version fields are added."""
    assert said(WithNote) == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"data": {"order_id": "x", "amount": "1.00", "currency": "EUR"}}, "is refused: order_id: String should match"),
        ({"data": {"amount": "1.00", "currency": "EUR"}}, "is refused: order_id: Field required"),
        ({"subject": "another"}, "has the subject another"),
        ({"type": "payments.captured.v9"}, "which is not in functions/events.py"),
        ({"type": "orders.confirmed.v1"}, "lies in another's folder"),
        ({"id": None}, "is no CloudEvent"),
    ],
)
def test_a_stored_event_that_the_code_cannot_take_is_named(
    tmp_path: Path, changed: dict[str, object], reason: str
) -> None:
    """Whatever lies in an outbox has to be taken by the code of today."""
    folder = tmp_path / "payments.captured.v1"
    folder.mkdir()
    sample = json.loads((samples.FOLDER / "payments.captured.v1/emitted.json").read_text())
    (folder / "sample.json").write_text(json.dumps(sample | changed))

    assert reason in str(samples.problem(folder / "sample.json", payloads()))


def test_every_event_has_samples_with_the_least_and_with_more() -> None:
    """As emitted, with nothing but what is required, and with what a later version may add."""
    for name in payloads():
        kinds = {file.stem for file in (samples.FOLDER / name).glob("*.json")}
        later = json.loads((samples.FOLDER / name / "later.json").read_text())

        assert kinds >= {"emitted", "minimal", "later"}
        assert later["data"].keys() - payloads()[name].model_fields.keys()


def test_a_new_event_gets_its_first_samples() -> None:
    """Each is one that the code takes, an event of its own."""
    made = dict(samples.first(OrdersPlaced))

    assert set(made) == {"emitted", "minimal", "later"}
    assert len({json.loads(text)["id"] for text in made.values()}) == 3
    assert set(json.loads(made["minimal"])) == {"specversion", "id", "source", "type", "data"}
