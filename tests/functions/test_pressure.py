"""Back-pressure: what is accepted while the Broker is away, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from functions.pressure import PressureSettings
from tests.functions.conftest import bearer

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
ME = bearer("ada")
NOBODY = "http://127.0.0.1:9/"


async def test_with_the_broker_away_orders_are_accepted_until_too_many_wait(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """202 as long as the outbox has room; then 503 with Retry-After and nothing written; 202 once it is drained."""
    served = await serve("orders.place", K_SINK=NOBODY, OUTBOX_UNPUBLISHED_MAX="2")
    monkeypatch.setattr("eventing.outbox._RETRY_DELAYS_SECONDS", ())
    monkeypatch.setattr("functions.pressure._LOOK_AGAIN_SECONDS", 0.0)

    async def place() -> Any:
        return await served.client.post("/orders/", json=ORDER, headers=ME)

    accepted = [(await place()).status_code for _ in range(3)]
    await served.sql("UPDATE outbox SET created_at = created_at - interval '1 minute'")
    refused = await place()
    kept = len(await served.outbox())
    await served.sql("UPDATE outbox SET published_at = clock_timestamp()")

    assert accepted == [202, 202, 202]
    assert (refused.status_code, refused.headers["retry-after"], kept) == (503, "5", 3)
    assert refused.headers["content-type"] == "application/problem+json"
    assert (await place()).status_code == 202


async def test_while_all_is_well_nothing_is_asked(serve: Any) -> None:
    """An outbox may be as full as it likes as long as this process publishes, or nothing says where to."""
    served = await serve("orders.place", OUTBOX_UNPUBLISHED_MAX="0")
    await served.client.post("/orders/", json=ORDER, headers=ME)
    await served.sql("UPDATE outbox SET created_at = created_at - interval '1 minute'")

    assert (await served.client.post("/orders/", json=ORDER, headers=ME)).status_code == 202


def test_the_limit_is_a_number() -> None:
    """Anything else stops the function from starting, with its name."""
    with pytest.raises(ValueError, match="OUTBOX_UNPUBLISHED_MAX"):
        PressureSettings.from_environment({"OUTBOX_UNPUBLISHED_MAX": "many"})
