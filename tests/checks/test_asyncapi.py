"""docs/asyncapi.yaml."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from functions.catalogue import payloads
from tests.checks.asyncapi import document
from tests.checks.asyncapi_rules import problems


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The document as the code makes it."""
    return document()


def test_the_document_is_asyncapi(described: dict[str, Any]) -> None:
    """With every event, and both sides of an order's way."""
    operations = described["operations"]

    assert problems(described) == []
    assert set(described["components"]["messages"]) == set(payloads())
    assert operations["orders-place-sends"]["messages"] == [{"$ref": "#/channels/default/messages/orders.placed.v1"}]
    assert operations["orders-confirm-receives"]["messages"] == [
        {"$ref": "#/channels/default/messages/payments.captured.v1"}
    ]


CONFIRM = "operations/orders-confirm-receives"
PLACED = "components/messages/orders.placed.v1"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("asyncapi", "2.6.0", "'3.0.0' was expected"),
        ("info/version", None, "version"),
        ("chanels", {}, "'chanels' does not match any"),
        ("servers/laptop/protokoll", "http", "'protokoll' does not match any"),
        (f"{CONFIRM}/action", "recieve", "'send' or 'receive'"),
        (f"{CONFIRM}/channel/$ref", "#/channels/other", "leads nowhere"),
        (f"{CONFIRM}/messages/0/$ref", f"#/{PLACED}", "is no message of #/channels/default"),
        (f"{CONFIRM}/bindings/http/method", "POTS", "'POTS' is not one of"),
        (f"{PLACED}/payload/$ref", "#/components/schemas/orders.placed.v2", "leads nowhere"),
        (f"{PLACED}/payloads", {}, "'payloads' does not match any"),
        (f"{PLACED}/correlationId/location", "ce-correlationid", "does not match"),
        (f"{PLACED}/examples/0/payload/amount", 99.5, "is not of type 'string'"),
        (f"{PLACED}/examples/0/headers/ce-type", "orders.placed.v2", "'orders.placed.v1' was expected"),
    ],
)
def test_what_is_wrong_in_it_is_found(described: dict[str, Any], path: str, value: Any, reason: str) -> None:
    """A judge that lets everything pass would show nothing."""
    broken = copy.deepcopy(described)
    *way, last = path.split("/")
    place: Any = broken
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value

    assert reason in " ".join(problems(broken))
