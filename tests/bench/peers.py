"""What Broker libraries do with the same bytes: `python -m tests.bench.peers PEER URL COUNT` prints events a second.

Each peer publishes COUNT events, every one acknowledged by the server, consumes them, hands them to the subscriber's
handler in its own process (no HTTP), and acknowledges them, all at once; the time is that of the whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import nats
import nats.errors
import uvloop
from nats.js.api import StorageType, StreamConfig

from tests.bench.load import ATTRIBUTES, DATA
from tests.bench.subscriber import handle

IN_FLIGHT = 64
Publish = Callable[[int], Awaitable[object]]


def headers(number: int) -> dict[str, str]:
    """What travels with an event beside its data, as our channels send it."""
    return {**{f"ce-{name}": value for name, value in ATTRIBUTES.items()}, "ce-id": _id(number)}


def _id(number: int) -> str:
    """Of this run's own: what was published a moment ago is not stored twice."""
    return f"{os.getpid()}-{number}"


async def publish_all(publish: Publish, count: int) -> None:
    """Publish so many, a few at a time."""
    for first in range(0, count, IN_FLIGHT):
        await asyncio.gather(*(publish(number) for number in range(first, min(count, first + IN_FLIGHT))))


async def nats_py(url: str, count: int) -> float:
    """Bare nats-py over JetStream."""
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="BARE", subjects=["bare.>"], storage=StorageType.FILE))
    subscription = await jetstream.pull_subscribe("bare.>", durable="bare")

    async def consume() -> None:
        done = 0
        while done < count:
            for message in await subscription.fetch(IN_FLIGHT, timeout=10):
                handle(message.data)
                await message.ack()
                done += 1

    def publish(number: int) -> Awaitable[object]:
        return jetstream.publish("bare.orders", DATA, headers={**headers(number), "Nats-Msg-Id": _id(number)})

    began = time.monotonic()
    await asyncio.gather(publish_all(publish, count), consume())
    await client.flush()
    rate = count / (time.monotonic() - began)
    await jetstream.delete_stream("BARE")
    await client.close()
    return rate


async def faststream_nats(url: str, count: int) -> float:
    """FastStream over JetStream."""
    from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub  # noqa: PLC0415 - of this peer alone.

    broker, over, done = NatsBroker(url, logger=None), asyncio.Event(), 0
    stream = JStream(name="FAST", subjects=["fast.>"])

    @broker.subscriber(
        "fast.orders", stream=stream, durable="fast", pull_sub=PullSub(batch_size=IN_FLIGHT, timeout=1.0)
    )
    async def take(message: NatsMessage) -> None:
        nonlocal done
        handle(message.body)
        done += 1
        if done == count:
            over.set()

    def publish(number: int) -> Awaitable[object]:
        return broker.publish(
            DATA, "fast.orders", stream="FAST", headers={**headers(number), "Nats-Msg-Id": _id(number)}
        )

    async with broker:
        await broker.start()
        began = time.monotonic()
        await asyncio.gather(publish_all(publish, count), over.wait())
        return count / (time.monotonic() - began)


async def aio_pika_alone(url: str, count: int) -> float:
    """Bare aio-pika on a quorum queue, with publisher confirms."""
    over, done = asyncio.Event(), 0
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(IN_FLIGHT)
        queue = await channel.declare_queue("bare", durable=True, arguments={"x-queue-type": "quorum"})

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            nonlocal done
            handle(message.body)
            await message.ack()
            done += 1
            if done == count:
                over.set()

        def publish(number: int) -> Awaitable[object]:
            fields: dict[str, Any] = {**headers(number)}
            message = aio_pika.Message(DATA, headers=fields, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            return channel.default_exchange.publish(message, "bare")

        tag = await queue.consume(take)
        began = time.monotonic()
        await asyncio.gather(publish_all(publish, count), over.wait())
        rate = count / (time.monotonic() - began)
        await queue.cancel(tag)
        await channel.queue_delete("bare")
    return rate


async def faststream_rabbitmq(url: str, count: int) -> float:
    """FastStream on a quorum queue, with publisher confirms."""
    from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitMessage, RabbitQueue  # noqa: PLC0415

    broker, over, done = RabbitBroker(url, logger=None), asyncio.Event(), 0
    queue = RabbitQueue("fast", queue_type=QueueType.QUORUM, durable=True)

    @broker.subscriber(queue, channel=Channel(prefetch_count=IN_FLIGHT))
    async def take(message: RabbitMessage) -> None:
        nonlocal done
        handle(message.body)
        done += 1
        if done == count:
            over.set()

    def publish(number: int) -> Awaitable[object]:
        return broker.publish(DATA, queue, headers=headers(number), persist=True)

    async with broker:
        await broker.start()
        began = time.monotonic()
        await asyncio.gather(publish_all(publish, count), over.wait())
        return count / (time.monotonic() - began)


PEERS = {
    "nats-py": nats_py,
    "FastStream on NATS": faststream_nats,
    "aio-pika": aio_pika_alone,
    "FastStream on RabbitMQ": faststream_rabbitmq,
}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(PEERS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))))
