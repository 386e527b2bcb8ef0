"""The whole workbench on one database, beside orders-confirm, the subscriber that it sends to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from eventing.event import Event
from functions.events import OrdersEventRefused, PaymentsCaptured
from tests.functions.conftest import Serve, bearer, event_of

ADMIN = bearer("root", "admin")
ORDER_ID = "01a20b76-4eb5-7c00-90cb-bcd920daa209"
NOBODY = "01a20b76-4eb5-7c00-90cb-bcd920daa208"
NAMES = (
    "deadletters.keep",
    "deadletters.list",
    "deadletters.show",
    "deadletters.edit",
    "deadletters.discard",
    "deadletters.dry_run",
    "deadletters.redrive",
)
CAPTURED = PaymentsCaptured(order_id=ORDER_ID, amount="99.50", currency="EUR")


@dataclass
class Workbench:
    """Its functions, the subscriber's URL, and the orders' database."""

    functions: dict[str, Any]
    confirm: Any
    url: str

    async def failed(self, event: Event, destination: str | None = None, **extensions: str) -> str:
        """Have an event kept that could not be delivered; answers the letter's id."""
        failure = {"knativeerrordest": destination or self.url, "knativeerrorcode": "503", **extensions}
        answer = await self.functions["keep"].post_event(event.with_extensions(**failure))
        assert answer.status_code == 204
        return str((await self.listed())[0]["id"])

    async def refused(self, event: Event, reason: str = "no such order") -> str:
        """Have an event refused by orders-confirm, and kept; answers the letter's id."""
        await self.confirm.post_event(event)
        ((_, data),) = [one for one in await self.confirm.outbox() if one[0].endswith("refused.v1")]
        await self.functions["keep"].post_event(OrdersEventRefused(**data))
        return str((await self.listed())[0]["id"])

    async def listed(self, query: str = "") -> list[dict[str, Any]]:
        """The letters of a list."""
        answer = await self.functions["list"].client.get(f"/deadletters/{query}", headers=ADMIN)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def shown(self, letter_id: str) -> dict[str, Any]:
        """One letter, whole."""
        answer = await self.functions["show"].client.get(f"/deadletters/{letter_id}", headers=ADMIN)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def post(self, verb: str, body: Any, headers: dict[str, str] = ADMIN) -> httpx.Response:
        """Ask for something to be done."""
        function = self.functions[{"dry-runs": "dry_run"}.get(verb, verb.removesuffix("s"))]
        return await function.client.post(f"/deadletters/{verb}", json=body, headers=headers)

    async def edit(self, letter_id: str, body: Any, **headers: str) -> httpx.Response:
        """Change an event."""
        path = f"/deadletters/{letter_id}"
        return await self.functions["edit"].client.patch(path, json=body, headers={**ADMIN, **headers})

    async def redriven(self, body: Any) -> list[tuple[str, str | None]]:
        """Send some again: outcome and reason of each."""
        answer = await self.post("redrives", body)
        assert answer.status_code == 200, answer.text
        return [(one["outcome"], one["reason"]) for one in answer.json()["results"]]

    async def statuses(self) -> list[str]:
        """What became of the orders."""
        return [row["status"] for row in await self.confirm.sql("SELECT status FROM orders ORDER BY id")]


def captured(**changed: Any) -> Event:
    """The event that an order's payment was captured."""
    return event_of(CAPTURED, **changed)


@pytest.fixture
async def workbench(serve: Serve) -> AsyncIterator[Workbench]:
    """With one order that waits for its payment."""
    confirm = await serve("orders.confirm")
    await confirm.sql(
        "INSERT INTO orders VALUES ($1, 'ada', 9950, 'EUR', 'tok_approve', 'placed', 1, now(), now()) RETURNING 1",
        ORDER_ID,
    )
    url = "http://orders-confirm.shop.svc.cluster.local"
    spec = {"filter": {"attributes": {"type": "payments.captured.v1"}}}
    triggers = json.dumps([{"name": "orders-confirm", "subscriber": url, "spec": spec}])
    functions = {
        name.partition(".")[2]: await serve(name, TRIGGERS=triggers, REDELIVERIES_PER_SECOND="1000") for name in NAMES
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(confirm.app, raise_app_exceptions=False)) as client:
        for name in ("dry_run", "redrive"):
            functions[name].app.state.subscribers._client = client
        yield Workbench(functions, confirm, url)
