"""Events delivered to an HTTP subscriber and acknowledged, a second, on NATS and RabbitMQ, beside what does less.

The subscriber alone is served by a load generator that writes the same bytes again and again. The bare clients publish,
take and acknowledge the same bytes and call nobody; FastStream calls a handler in its own process. EVENTS_BACKLOG
(1000000 takes minutes to fill) adds: the same rate with so many more events waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import nats as nats_client
import yaml
from faststream.nats import NatsBroker
from faststream.rabbit import RabbitBroker

from eventing.channels.channel import Delivery, Done
from eventing.channels.connect import connect
from eventing.channels.settings import Settings
from eventing.event import Event, to_binary
from knative.runtime import child, nats, rabbitmq
from tests.bench.direct import program
from tests.flows.conftest import ROOT, Installation

EVENTS = int(os.environ.get("EVENTS", "4000"))
BACKLOG = int(os.environ.get("EVENTS_BACKLOG", "0"))
CONNECTIONS = 64
DATA = b'{"order_id": "%s"}' % (b"0" * 200)


def run(_: Installation) -> None:
    """Print the figures; on servers of its own, which survive a kill as those of an installation do."""
    with program("tests.bench.subscriber") as port:
        alone = max(asyncio.run(_served(port)) for _ in range(2))
        print(
            f"\nevents a second, of {EVENTS}; the subscriber alone serves {alone:.0f} to a load generator", flush=True
        )
        for kind in ("nats", "rabbitmq"):
            with _server(kind) as url:
                delivered = asyncio.run(_delivered(url, port, EVENTS))
                bare = asyncio.run({"nats": _bare_nats, "rabbitmq": _bare_rabbitmq}[kind](url))
                faststream = asyncio.run(_faststream(kind, url))
                print(
                    f"  {kind:<9} delivered {delivered:6.0f} ({delivered / alone:.2f} of the subscriber alone); "
                    f"bare client, publish + take + acknowledge {bare:6.0f}; FastStream {faststream:6.0f}",
                    flush=True,
                )
            if BACKLOG:
                _backlog(kind, port)


def _backlog(kind: str, port: int) -> None:
    with _server(kind, safe=False) as url:
        few = max(asyncio.run(_delivered(url, port, 1000)) for _ in range(3))
        many = asyncio.run(_delivered(url, port, BACKLOG, only=1000))
    print(
        f"  {kind:<9} with 1,000 waiting {few:.0f}, with {BACKLOG:,} waiting {many:.0f} ({many / few:.2f})", flush=True
    )


@contextlib.contextmanager
def _server(kind: str, *, safe: bool = True) -> Iterator[str]:
    """One that waits for its disk before it acknowledges, or (NATS, to be filled quickly) one that does not."""
    with tempfile.TemporaryDirectory(prefix="wake-bench-") as folder:
        path, port = Path(folder), child.free_port()
        if kind == "nats":
            server: Any = nats.start(path, port, path / "log", "always" if safe else "2m")
        else:
            server = rabbitmq.start(path, port, path / "log")
        server.wait_until_ready()
        try:
            yield server.url
        finally:
            server.stop()


async def _served(port: int) -> float:
    """What the subscriber answers to connections that ask again as soon as they are answered."""
    headers, body = to_binary(_event(0))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST / HTTP/1.1\r\nhost: x\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body
    left, began = EVENTS, time.monotonic()

    async def ask() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return EVENTS / (time.monotonic() - began)


async def _delivered(url: str, port: int, number: int, only: int = 0) -> float:
    """From the first of what waits to the last, or to the first *only*, through a Broker's process."""
    broker = f"b{time.time_ns()}"
    await _filled(url, broker, number)
    subscriber = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as client, _broker(url, broker, subscriber):
        await client.delete(f"{subscriber}/times")
        while True:
            times = (await client.get(f"{subscriber}/times")).json()
            if times["count"] >= (only or number):
                return float((times["count"] - 1) / (times["last"] - times["first"]))
            await asyncio.sleep(0.2)


async def _filled(url: str, broker: str, number: int) -> None:
    channels = await connect(url, Settings(settle_seconds=0))
    channel = await channels.channel("bench", broker)

    async def take(_: Delivery) -> Done:
        return Done()

    # The Trigger's place has to be there before what it is to get.
    await (await channel.subscribe(f"bench/{broker}", None, take)).close()
    for start in range(0, number, 1000):
        await asyncio.gather(*(channel.publish(_event(one)) for one in range(start, min(start + 1000, number))))
    await channels.close()


@contextlib.asynccontextmanager
async def _broker(url: str, name: str, subscriber: str) -> AsyncIterator[None]:
    documents = [
        {"kind": "Broker", "metadata": {"namespace": "bench", "name": name}},
        {
            "kind": "Trigger",
            "metadata": {"namespace": "bench", "name": name},
            "spec": {"broker": name, "subscriber": {"uri": subscriber + "/"}},
        },
    ]
    with tempfile.TemporaryDirectory(prefix="wake-bench-") as folder:
        manifest = Path(folder) / "broker.yaml"
        manifest.write_text(yaml.safe_dump_all(documents))
        command = [sys.executable, "-m", "eventing.broker", f"--manifest={manifest}", f"--port={child.free_port()}"]
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once.
            [*command, f"--journal={folder}/events.jsonl"], cwd=ROOT, env={**os.environ, "CHANNEL_URL": url}
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


async def _bare_nats(url: str) -> float:
    client = await nats_client.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name="bare", subjects=["bare"])
    puller = await stream.pull_subscribe("bare", "bare")
    headers, body = to_binary(_event(0))
    began = time.monotonic()
    for start in range(0, EVENTS, 500):
        await asyncio.gather(*(stream.publish("bare", body, headers=headers) for _ in range(start, start + 500)))
    taken = 0
    while taken < EVENTS:
        for message in await puller.fetch(CONNECTIONS):
            await message.ack()
            taken += 1
    rate = EVENTS / (time.monotonic() - began)
    await client.drain()
    return rate


async def _bare_rabbitmq(url: str) -> float:
    headers, body = to_binary(_event(0))
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(CONNECTIONS)
        queue = await channel.declare_queue("bare", durable=True, arguments={"x-queue-type": "quorum"})
        done, taken = asyncio.Event(), 0

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            nonlocal taken
            await message.ack()
            taken += 1
            if taken == EVENTS:
                done.set()

        def message() -> aio_pika.Message:
            return aio_pika.Message(body, headers=dict(headers), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)

        began = time.monotonic()
        await queue.consume(take)
        for start in range(0, EVENTS, 500):
            sending = (channel.default_exchange.publish(message(), "bare") for _ in range(start, start + 500))
            await asyncio.gather(*sending)
        await done.wait()
        return EVENTS / (time.monotonic() - began)


async def _faststream(kind: str, url: str) -> float:
    """The same handler: it takes the bytes."""
    make: Callable[..., Any] = {"nats": NatsBroker, "rabbitmq": RabbitBroker}[kind]
    broker = make(url, logger=None)
    options = {"stream": "fast", "durable": "fast"} if kind == "nats" else {}
    sending = {"stream": "fast", "timeout": 30.0} if kind == "nats" else {"persist": True}
    done, taken = asyncio.Event(), 0

    @broker.subscriber("fast", **options)  # type: ignore[untyped-decorator]
    async def take(_: bytes) -> None:
        nonlocal taken
        taken += 1
        if taken == EVENTS:
            done.set()

    async with broker:
        await broker.start()
        began = time.monotonic()
        for start in range(0, EVENTS, 500):
            await asyncio.gather(*(broker.publish(DATA, "fast", **sending) for _ in range(start, start + 500)))
        await done.wait()
        return EVENTS / (time.monotonic() - began)


def _event(number: int) -> Event:
    return Event(
        id=str(number),
        source="/bench",
        type="orders.placed.v1",
        subject=str(number % 1000),
        time=datetime.now(UTC),
        datacontenttype="application/json",
        data=DATA,
    )


if __name__ == "__main__":
    run(None)  # type: ignore[arg-type] - it needs no installation.
