"""One suite for every channel, with a sheet that says what each can do. Real servers, killed in the middle."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from eventing.channels.channel import Again, ChannelUnavailable, Delivery, Done
from eventing.channels.memory import MemoryChannels
from eventing.channels.nats import NatsChannels
from eventing.event import Event
from knative.runtime import child, nats

_brokers = count()


@dataclass(frozen=True)
class Features:
    """What a channel promises beyond delivering."""

    durable: bool


@dataclass
class Subject:
    """A channel under test."""

    connect: Callable[[], Awaitable[Any]]
    features: Features
    broker: str

    async def channel(self) -> tuple[Any, Any]:
        """A new connection, and the channel over it."""
        channels = await self.connect()
        return channels, await channels.channel("test", self.broker)


def event(name: str, kind: str = "orders.placed.v1", **extensions: str) -> Event:
    """An event of this id."""
    return Event(id=name, source="/wake/orders", type=kind, extensions=extensions, data=name.encode() + b"\x00\xff")


@pytest.fixture(params=["memory", "nats"])
async def subject(request: pytest.FixtureRequest) -> Subject:
    """Each channel in turn."""
    broker = f"b{next(_brokers)}"
    if request.param == "memory":
        memory = MemoryChannels()

        async def same() -> MemoryChannels:
            return memory

        return Subject(same, Features(durable=False), broker)
    url = request.getfixturevalue("nats_url")
    return Subject(lambda: NatsChannels.connect(url), Features(durable=True), broker)


class Taker:
    """Takes deliveries and remembers them; answers as it was told, then Done."""

    def __init__(self, *answers: Again) -> None:
        self.answers = list(answers)
        self.deliveries: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> Done | Again:
        """As a dispatcher's."""
        self.deliveries.append(delivery)
        return self.answers.pop(0) if self.answers else Done()

    async def until(self, number: int) -> list[Delivery]:
        """Wait for so many deliveries."""
        async with asyncio.timeout(20):
            while len(self.deliveries) < number:
                await asyncio.sleep(0.002)
        return self.deliveries


async def test_every_subscription_gets_every_event_as_it_was(subject: Subject) -> None:
    """Two subscriptions, each with all attributes and bytes."""
    channels, channel = await subject.channel()
    takers = [Taker(), Taker()]
    subscriptions = [await channel.subscribe(f"test/t{n}", None, taker) for n, taker in enumerate(takers)]
    sent = event("1", tenant="ä %")
    await channel.publish(sent)

    assert [(await taker.until(1))[0] for taker in takers] == [Delivery(sent, 1)] * 2
    for subscription in subscriptions:
        await subscription.close()
    await channels.close()


async def test_a_subscription_to_one_type_gets_that_type(subject: Subject) -> None:
    """Others need not be delivered to be passed over."""
    channels, channel = await subject.channel()
    taker = Taker()
    subscription = await channel.subscribe("test/t", "orders.placed.v1", taker)
    for name, kind in (("1", "orders.placed.v1"), ("2", "orders.placed.v2"), ("3", "orders.placed.v1")):
        await channel.publish(event(name, kind))

    assert sorted(one.event.id for one in await taker.until(2)) == ["1", "3"]
    await subscription.close()
    await channels.close()


async def test_again_means_again_with_the_next_attempt(subject: Subject) -> None:
    """Attempts are counted, and other events do not wait for it."""
    channels, channel = await subject.channel()
    taker = Taker(Again(0.3), Again(0.0))
    subscription = await channel.subscribe("test/t", None, taker)
    await channel.publish(event("slow"))
    await taker.until(1)
    taker.answers, held = [], taker.answers
    await channel.publish(event("quick"))
    await taker.until(2)
    taker.answers = held
    deliveries = await taker.until(4)

    assert [(one.event.id, one.attempt) for one in deliveries] == [("slow", 1), ("quick", 1), ("slow", 2), ("slow", 3)]
    await subscription.close()
    await channels.close()


async def test_the_same_id_of_another_source_is_another_event(subject: Subject) -> None:
    """Repetition is judged by source and id together."""
    channels, channel = await subject.channel()
    taker = Taker()
    subscription = await channel.subscribe("test/t", None, taker)
    for source in ("/a", "/b", "/a"):
        await channel.publish(Event(id="1", source=source, type="t"))
    await channel.publish(event("last"))
    await taker.until(3)

    assert {"/a", "/b", "/wake/orders"} == {one.event.source for one in taker.deliveries}
    await subscription.close()
    await channels.close()


async def test_a_thousand_events_are_all_delivered(subject: Subject) -> None:
    """Published side by side, each once."""
    channels, channel = await subject.channel()
    taker = Taker()
    subscription = await channel.subscribe("test/t", None, taker)
    for start in range(0, 1000, 100):
        await asyncio.gather(*(channel.publish(event(str(number))) for number in range(start, start + 100)))

    assert {str(number) for number in range(1000)} == {one.event.id for one in await taker.until(1000)}
    await subscription.close()
    await channels.close()


async def test_what_was_published_while_nobody_was_there_is_delivered_later(subject: Subject) -> None:
    """A durable subscription keeps its place; a channel in memory promises nothing."""
    if not subject.features.durable:
        return
    channels, channel = await subject.channel()
    first = Taker()
    await (await channel.subscribe("test/t", None, first)).close()
    await channels.close()
    channels, channel = await subject.channel()
    await channel.publish(event("meanwhile"))
    second = Taker()
    subscription = await channel.subscribe("test/t", None, second)

    assert [one.event.id for one in await second.until(1)] == ["meanwhile"]
    await subscription.close()
    await channels.close()


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[Callable[[], nats.Nats]]:
    """Starts a nats-server that this test may kill, each time on the same port and files."""
    port = child.free_port()
    started: list[nats.Nats] = []

    def start() -> nats.Nats:
        started.append(nats.start(tmp_path, port, tmp_path / "log"))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for server in started:
        server.stop()


async def test_nats_killed_in_the_middle_loses_nothing_it_acknowledged(own_nats: Callable[[], nats.Nats]) -> None:
    """kill -9 twice while events are published: all that were acknowledged arrive, and publishing goes on by itself."""
    server = own_nats()
    channels = await NatsChannels.connect(server.url)
    channel = await channels.channel("test", "killed")
    taker = Taker()
    subscription = await channel.subscribe("test/t", None, taker)
    acknowledged: set[str] = set()

    async def publish(name: str) -> None:
        async with asyncio.timeout(30):
            while name not in acknowledged:
                try:
                    await channel.publish(event(name))
                    acknowledged.add(name)
                except ChannelUnavailable:
                    await asyncio.sleep(0.01)

    for number in range(60):
        if number in {20, 40}:
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            server = own_nats()
        await publish(str(number))
    async with asyncio.timeout(30):
        while acknowledged - {one.event.id for one in taker.deliveries}:
            await asyncio.sleep(0.01)
    await subscription.close()
    await channels.close()


async def test_a_server_that_is_away_makes_publishing_fail_and_say_so(own_nats: Callable[[], nats.Nats]) -> None:
    """Unknown, not silent: the caller publishes again under the same id."""
    server = own_nats()
    channels = await NatsChannels.connect(server.url)
    channel = await channels.channel("test", "away")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()

    with pytest.raises(ChannelUnavailable, match="nats-server"):
        await channel.publish(event("1"))
    await channels.close()
