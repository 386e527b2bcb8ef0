"""Channels whose server is killed in the middle and started again on the same files and port."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eventing.channels.channel import Again, Channels, ChannelUnavailable, Delivery, Done
from eventing.channels.nats import NatsChannels
from eventing.channels.rabbitmq import RabbitChannels
from eventing.event import Event
from knative.runtime import child, nats
from tests.conftest import rabbitmq_of


@dataclass
class Victim:
    """A server of this test's own."""

    start: Callable[[], Any]
    connect: Callable[[str], Any]
    server: Any = None

    async def up(self) -> str:
        """Start it, and wait until it is ready."""
        self.server = self.start()
        await asyncio.to_thread(self.server.wait_until_ready)
        return str(self.server.url)

    def kill(self) -> None:
        """kill -9."""
        self.server.process.send_signal(signal.SIGKILL)
        self.server.stop()


@pytest.fixture(params=["nats", "rabbitmq"])
async def victim(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Victim]:
    """Each server in turn."""
    port, log = child.free_port(), tmp_path / "log"
    if request.param == "nats":
        one = Victim(lambda: nats.start(tmp_path, port, log), NatsChannels.connect)
    else:
        one = Victim(lambda: rabbitmq_of(tmp_path, port, log), RabbitChannels.connect)
    yield one
    if one.server is not None:
        one.server.stop()


@dataclass
class Shop:
    """Publishes until it is acknowledged, and takes: what is `late` comes again later, `held` is long in hand."""

    channel: Any
    acknowledged: set[str] = field(default_factory=set)
    # Published again because nobody knew: RabbitMQ may have stored them twice, and each is delivered for a first time.
    unknown: set[str] = field(default_factory=set)
    marks: dict[str, list[int]] = field(default_factory=dict)
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, delivery: Delivery) -> Done | Again:
        """As a dispatcher's."""
        name, first = delivery.event.id, delivery.attempt == 1
        self.marks.setdefault(name, []).append(delivery.attempt)
        if name.startswith("held") and first:
            await self.held.wait()
        return Again(3.0) if name.startswith("late") and first else Done()

    async def publish(self, *names: str) -> None:
        """Again and again under the same ids."""
        for name in names:
            while name not in self.acknowledged:
                try:
                    await self.channel.publish(Event(id=name, source="/a", type="t", data=name.encode()))
                    self.acknowledged.add(name)
                except ChannelUnavailable:
                    self.unknown.add(name)
                    await asyncio.sleep(0.01)

    @property
    def missing(self) -> set[str]:
        """What was acknowledged and has not come, or not as often as it has to."""
        return {name for name in self.acknowledged if 1 + name.startswith("late") not in self.marks.get(name, [])}


async def test_a_server_killed_in_the_middle_loses_nothing_it_acknowledged(victim: Victim) -> None:
    """While events are published, are in hand, and wait for their next attempt: each comes, with its right mark."""
    channels: Channels = await victim.connect(await victim.up())
    shop = Shop(await channels.channel("test", "killed"))
    subscription = await shop.channel.subscribe("test/t", None, shop.take)
    async with asyncio.timeout(60):
        await shop.publish(*(f"{kind}{number}" for kind in ("late", "held") for number in range(5)))
        await until(lambda: len(shop.marks) == 10)
        streams = [asyncio.create_task(shop.publish(*(f"{one}{n}" for n in range(200)))) for one in "abc"]
        await until(lambda: len(shop.acknowledged) > 100)
        victim.kill()
        with pytest.raises(ChannelUnavailable, match="-server: "):
            await shop.channel.publish(Event(id="away", source="/a", type="t"))
        await victim.up()
        await asyncio.gather(*streams)
        await until(lambda: not shop.missing)
    shop.held.set()
    await subscription.close()
    await channels.close()

    wrong = {name: marks for name, marks in shop.marks.items() if marks != list(range(1, len(marks) + 1))}
    assert wrong.keys() <= shop.unknown, wrong
    assert len(shop.unknown) <= len(streams)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, as long as the caller's time-out lets us."""
    while not condition():
        await asyncio.sleep(0.002)
