"""The card processor beside the function under test: the real simulator app, served by uvicorn on a free port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from functions.events import OrdersCancelled, OrdersPlaced

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORDER_ID = "01a20b76-4eb5-7c00-90cb-bcd920daa209"


def placed(token: str = "tok_approve", order_id: str = ORDER_ID) -> OrdersPlaced:
    """The event that an order was placed."""
    return OrdersPlaced(order_id=order_id, username="ada", amount="99.50", currency="EUR", payment_token=token)


def cancelled(order_id: str = ORDER_ID) -> OrdersCancelled:
    """The event that the same order was cancelled."""
    return OrdersCancelled(order_id=order_id, username="ada", amount="99.50", currency="EUR")


async def books(served: Any) -> list[tuple[Any, ...]]:
    """State, captured and refunded minor units of each payment; the amounts by the ledger."""
    rows = await served.sql(
        "SELECT state, coalesce(sum(minor) FILTER (WHERE minor > 0), 0)::int AS captured,"
        " coalesce(-sum(minor) FILTER (WHERE minor < 0), 0)::int AS refunded"
        " FROM payments p LEFT JOIN entries e ON e.order_id = p.order_id AND account = 'processor' GROUP BY p.order_id"
    )
    return [tuple(row) for row in rows]


@dataclass
class Cards:
    """The simulator: its address, and its own books."""

    url: str
    served: Any

    async def charges(self) -> list[tuple[Any, ...]]:
        """Key, amount and outcome of each charge that somebody tried to make."""
        rows = await self.served.sql("SELECT key, amount, outcome FROM charges WHERE token <> '' ORDER BY key")
        return [tuple(row) for row in rows]

    async def refunds(self) -> list[tuple[Any, ...]]:
        """Key, charge and amount of each refund."""
        return [tuple(row) for row in await self.served.sql("SELECT key, charge, amount FROM refunds ORDER BY key")]

    async def webhooks_sent(self) -> None:
        """Wait until every webhook that was promised was sent."""
        async with asyncio.timeout(20):
            while self.served.app.state.sender.tasks:
                await asyncio.sleep(0.01)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@pytest.fixture
async def cards(serve: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cards]:
    """A card processor that payments of this test use."""
    served = await serve("payments.simulate", "cards")
    config = uvicorn.Config(served.app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("CARD_PROCESSOR_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("CARD_PROCESSOR_TIMEOUT_SECONDS", "0.5")
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    yield Cards(f"http://127.0.0.1:{port}", served)
    server.should_exit = True
    await serving


@pytest.fixture
async def webhooks(serve: Any, cards: Cards) -> AsyncIterator[Any]:
    """payments-webhook, which the card processor of this test calls."""
    served = await serve("payments.webhook")
    config = uvicorn.Config(served.app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    told = cards.served.app.state.sender
    told.url, told.secret = f"http://127.0.0.1:{port}/payments/webhooks/simulator", SECRET
    yield served
    server.should_exit = True
    await serving
