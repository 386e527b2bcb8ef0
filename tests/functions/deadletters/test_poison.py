"""A poison event among a thousand good ones, through the running Broker over a real NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from eventing.event import Event, to_binary
from functions.events import PaymentsCaptured
from knative.runtime import child
from tests.functions.conftest import event_of
from tests.functions.deadletters.conftest import ORDER_ID, Workbench
from tests.functions.listening import listening

GOOD = 1000
ORDERS = """
INSERT INTO orders SELECT gen_random_uuid(), 'ada', 9950, 'EUR', 'tok_approve', 'placed', 1, now(), now()
FROM generate_series(1, $1::integer) RETURNING id::text
"""


@contextlib.asynccontextmanager
async def broker(folder: Path, nats_url: str, subscriber: str, sink: str) -> AsyncIterator[tuple[str, Path]]:
    """A Broker process with one Trigger and a dead letter sink; gives its URL and its journal."""
    delivery = {"retry": 2, "backoffPolicy": "exponential", "backoffDelay": "PT0.01S", "deadLetterSink": {"uri": sink}}
    trigger = {"broker": "default", "subscriber": {"uri": subscriber}, "delivery": delivery}
    documents = [
        {"kind": "Broker", "metadata": {"namespace": "poison", "name": "default"}},
        {"kind": "Trigger", "metadata": {"namespace": "poison", "name": "orders-confirm"}, "spec": trigger},
    ]
    port, manifest, journal = child.free_port(), folder / "broker.yaml", folder / "journal.jsonl"
    manifest.write_text(yaml.safe_dump_all(documents))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "eventing.broker"),
        *(f"--manifest={manifest}", f"--port={port}", f"--journal={journal}"),
        # Few at once: of 64 that wait for four connections, some of a busy machine wait for longer than a function may.
        env={**os.environ, "CHANNEL_URL": nats_url, "CHANNEL_CONCURRENCY": "8"},
    )
    try:
        async with asyncio.timeout(20):
            while not child.accepts("127.0.0.1", port):
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}/poison/default", journal
    finally:
        process.kill()
        await process.wait()


def captured(order_id: str, **more: str) -> Event:
    """The event that this order was paid, with more in its data than there should be."""
    event = event_of(PaymentsCaptured(order_id=order_id, amount="99.50", currency="EUR"))
    return event_of(
        PaymentsCaptured(order_id=order_id, amount="99.50", currency="EUR"),
        data=json.dumps({**json.loads(event.data), **more}).encode(),
    )


async def send(url: str, events: list[Event]) -> None:
    """Post them, ten at a time."""
    waiting = iter(events)

    async def some(client: httpx.AsyncClient) -> None:
        for event in waiting:
            headers, body = to_binary(event)
            assert (await client.post(url, content=body, headers=headers)).status_code == 202

    async with httpx.AsyncClient(trust_env=False) as client:
        await asyncio.gather(*(some(client) for _ in range(10)))


async def until(workbench: Workbench, confirmed: int) -> None:
    """Wait until so many orders are confirmed."""
    async with asyncio.timeout(60):
        while (await workbench.confirm.sql("SELECT count(*) FROM orders WHERE status = 'confirmed'"))[0][0] < confirmed:
            await asyncio.sleep(0.1)


async def test_a_poison_event_holds_up_nobody_and_is_put_right(
    workbench: Workbench, nats_url: str, tmp_path: Path
) -> None:
    """A thousand are handled at once; one is dead-lettered with its reason, edited, redriven, and handled."""
    ids = [row["id"] for row in await workbench.confirm.sql(ORDERS, GOOD)]
    poison = captured(ORDER_ID, note="x" * 70_000)
    async with (
        listening(workbench.confirm.app) as subscriber,
        listening(workbench.functions["keep"].app) as sink,
        broker(tmp_path, nats_url, subscriber, sink) as (url, journal),
    ):
        await send(url, [poison, *map(captured, ids)])
        await until(workbench, GOOD)
        async with asyncio.timeout(20):
            while not (letters := await workbench.listed()):
                await asyncio.sleep(0.02)
    happened = [json.loads(line) for line in journal.read_text().splitlines()]
    delivered: list[Any] = [one["attempt"] for one in happened if one["kind"] == "delivered"]
    (letter,) = letters
    # The Broker reached it by its port, and not by the name that it has in a cluster.
    await workbench.functions["keep"].sql("UPDATE dead_letters SET destination = $1 RETURNING 1", workbench.url)
    edit = {"data": {"order_id": ORDER_ID, "amount": "99.50", "currency": "EUR"}, "reason": "no notes"}
    await workbench.edit(letter["id"], edit)

    assert delivered == [1] * GOOD
    assert (letter["event_id"], letter["code"]) == (poison.id, "413")
    assert letter["answer"] == "The body is longer than is taken here."
    assert await workbench.redriven({"ids": [letter["id"]]}) == [("handled", None)]
    assert (await workbench.statuses()).count("confirmed") == GOOD + 1
