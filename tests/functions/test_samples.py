"""The stored events of tests/samples, delivered to every function whose Trigger wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from eventing.event import Event, to_binary
from eventing.gate import from_json
from knative.runtime.manifests import load
from tests.checks import samples
from tests.checks.manifests import OVERLAY
from tests.checks.traffic import readers
from tests.functions.payments.conftest import Cards, cards  # noqa: F401 - a fixture, for the functions of payments.

READ = readers(load(OVERLAY))
FUNCTIONS = sorted({one.function for by in READ.values() for one in by})


def stored(function: str) -> list[Event]:
    """The samples that the Triggers of this function want."""
    wanted = {name for name, by in READ.items() if function in {one.function for one in by}}
    return [from_json(file.read_bytes()) for file in samples.stored() if file.parent.name in wanted]


async def place(served: Any, event: Event) -> None:
    """Let there be the order that a sample is about, and be placed, as functions of orders need it."""
    await served.sql(
        "INSERT INTO orders (id, username, amount_minor, currency, payment_token, status, created_at, updated_at)"
        " VALUES ($1, 'ada', 1, 'EUR', 'tok_approve', 'placed', now(), now())"
        " ON CONFLICT (id) DO UPDATE SET status = 'placed'",
        UUID(samples.data(event)["order_id"]),
    )


async def delivered(served: Any, event: Event) -> str | None:
    """Deliver a sample, and once more; answers how that went wrong, if it did."""
    headers, body = to_binary(event)
    answers = [await served.client.post("/", content=body, headers=headers) for _ in range(2)]
    wrong = [
        f"{answer.status_code} {answer.text}" for answer in answers if (answer.status_code, answer.text) != (204, "")
    ]
    return f"{event.type} {event.id} was answered {wrong}" if wrong else None


async def test_every_function_takes_every_event_that_was_ever_sent_to_it(
    serve: Any,
    cards: Cards,  # noqa: F811
) -> None:
    """204, handled and not recorded as refused; the same again is taken too."""
    wrong: dict[str, list[Any]] = {}
    for function in FUNCTIONS:
        area, _, verb = function.partition("-")
        served = await serve(f"{area}.{verb.replace('-', '_')}")
        for event in stored(function):
            if area == "orders":
                await place(served, event)
            if (problem := await delivered(served, event)) is not None:
                wrong.setdefault(function, []).append(problem)
        if area != "deadletters":
            refused = [data["reason"] for kind, data in await served.outbox() if "refused" in kind]
            wrong |= {function: refused} if refused else {}

    assert wrong == {}


def test_the_samples_of_the_repository_are_found() -> None:
    """Or the tests above would show nothing."""
    assert {Path(file).parent.name for file in samples.stored()} == set(READ)
    assert {"orders-confirm", "payments-charge", "payments-refund", "deadletters-keep"} <= set(FUNCTIONS)
