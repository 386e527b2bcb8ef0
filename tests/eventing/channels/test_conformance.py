"""One suite for every channel, by the contract in channel.py and each channel's own feature sheet. Real servers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from eventing.channels.channel import Again, ChannelFull, Delivery, Done
from eventing.channels.memory import MemoryChannels
from eventing.channels.nats import NatsChannels
from eventing.channels.rabbitmq import RabbitChannels
from eventing.channels.settings import Settings
from eventing.event import Event

_brokers = count()


def event(name: str, kind: str = "orders.placed.v1", subject: str | None = None, **extensions: str) -> Event:
    """An event of this id."""
    return Event(
        id=name,
        source="/wake/orders",
        type=kind,
        subject=subject,
        extensions=extensions,
        data=name.encode() + b"\x00\xff",
    )


class Taker:
    """Takes deliveries and remembers them; answers as it was told, then Done."""

    def __init__(self, *answers: Again) -> None:
        self.answers = list(answers)
        self.deliveries: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> Done | Again:
        """As a dispatcher's."""
        self.deliveries.append(delivery)
        return self.answers.pop(0) if self.answers else Done()

    @property
    def ids(self) -> list[str]:
        """Of what came, in order."""
        return [one.event.id for one in self.deliveries]

    async def until(self, number: int) -> list[Delivery]:
        """Wait for so many deliveries."""
        async with asyncio.timeout(20):
            while len(self.deliveries) < number:
                await asyncio.sleep(0.002)
        return self.deliveries


@dataclass
class Subject:
    """A channel under test: connections to it, which are closed after the test."""

    kind: str
    connect: Callable[[Settings], Awaitable[Any]]
    broker: str
    name: str
    opened: list[Any] = field(default_factory=list)

    async def channel(self, settings: Settings | None = None) -> Any:
        """The channel over a new connection."""
        self.opened.append(await self.connect(settings or Settings(ack_wait_seconds=1, settle_seconds=0)))
        return await self.opened[-1].channel("test", self.broker)

    async def killed(self) -> None:
        """What a kill -9 of the process that holds the last connection does to it: nothing is answered any more."""
        channels = self.opened.pop()
        if self.kind == "nats":
            await channels._client.close()
        else:
            await channels.close()


@pytest.fixture(params=["memory", "nats", "rabbitmq"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Each channel in turn."""
    number = next(_brokers)
    memory = MemoryChannels(Settings(concurrency=64))

    async def connect(settings: Settings) -> Any:
        if request.param == "memory":
            memory._settings = settings
            return memory
        if request.param == "nats":
            return await NatsChannels.connect(request.getfixturevalue("nats_url"), settings)
        return await RabbitChannels.connect(request.getfixturevalue("rabbitmq_url"), settings)

    if request.param != "memory":
        # Before the test's own loop runs something that would wait for it.
        request.getfixturevalue(f"{request.param}_url")
    one = Subject(request.param, connect, f"b{number}", f"test{number}/t")
    yield one
    for channels in one.opened:
        await channels.close()


async def test_every_subscription_gets_every_event_as_it_was(subject: Subject) -> None:
    """Two subscriptions, each with all attributes and bytes."""
    channel = await subject.channel()
    takers = [Taker(), Taker()]
    subscriptions = [await channel.subscribe(f"{subject.name}{n}", None, taker) for n, taker in enumerate(takers)]
    sent = Event(
        id="ö %25",
        source="/wake/orders",
        type="orders.placed.v1",
        subject="ä b",
        time=datetime(2026, 1, 31, 12, 0, 0, 123456, UTC),
        datacontenttype="application/x; " + "y" * 300,
        dataschema="https://example.com/s",
        extensions={"tenant": "ä %", "n": "1"},
        data=bytes(range(256)),
    )
    await channel.publish(sent)
    plain = Event(id="2", source="/a", type="t")
    await channel.publish(plain)

    for taker in takers:
        assert sorted(await taker.until(2), key=lambda one: one.event.id) == [Delivery(plain, 1), Delivery(sent, 1)]
    for subscription in subscriptions:
        await subscription.close()


async def test_a_subscription_to_one_type_gets_that_type_until_it_asks_for_another(subject: Subject) -> None:
    """Others need not be delivered to be passed over; what waited under the old filter is passed over too."""
    channel = await subject.channel()
    taker, later = Taker(), Taker()
    subscription = await channel.subscribe(subject.name, "orders.placed.v1", taker)
    for name, kind in (("1", "orders.placed.v1"), ("2", "orders.placed.v2"), ("3", "orders.placed.v1")):
        await channel.publish(event(name, kind))
    await taker.until(2)
    await subscription.close()
    subscription = await channel.subscribe(subject.name, "orders.placed.v2", later)
    for name, kind in (("4", "orders.placed.v1"), ("5", "orders.placed.v2")):
        await channel.publish(event(name, kind))
    await later.until(1)
    await subscription.close()

    assert (sorted(taker.ids), later.ids) == (["1", "3"], ["5"])


async def test_again_means_again_after_the_wait_with_the_next_attempt(subject: Subject) -> None:
    """Attempts are counted, other events do not wait for it, and it is not late."""
    channel = await subject.channel()
    taker, came = Taker(), []

    async def take(delivery: Delivery) -> Done | Again:
        await taker(delivery)
        if delivery.event.id == "quick" or delivery.attempt == 4:
            return Done()
        came.append(time.monotonic())
        return Again((0.4, 0.0, 0.7)[delivery.attempt - 1])

    subscription = await channel.subscribe(subject.name, None, take)
    await channel.publish(event("slow"))
    await taker.until(1)
    await channel.publish(event("quick"))
    deliveries = await taker.until(5)
    waited = time.monotonic() - came[2]
    await subscription.close()

    assert [(one.event.id, one.attempt) for one in deliveries] == [
        *(("slow", 1), ("quick", 1), ("slow", 2), ("slow", 3), ("slow", 4))
    ]
    assert came[1] - came[0] >= 0.4
    assert 0.7 <= waited < 1.1


async def test_repetitions_are_judged_by_source_and_id_together(subject: Subject) -> None:
    """The same id of another source is another event; the same of both, a moment later, is stored once."""
    channel = await subject.channel()
    taker = Taker()
    subscription = await channel.subscribe(subject.name, None, taker)
    for source in ("/a", "/b", "/a", "/c"):
        await channel.publish(Event(id="1", source=source, type="t"))
    await taker.until(3)
    await subscription.close()

    assert subject.opened[-1].features.dedup_seconds >= 120
    assert Counter(one.event.source for one in taker.deliveries) == {"/a": 1, "/b": 1, "/c": 1}


async def test_a_thousand_events_are_all_delivered(subject: Subject) -> None:
    """Published side by side, each once."""
    channel = await subject.channel()
    taker = Taker()
    subscription = await channel.subscribe(subject.name, None, taker)
    for start in range(0, 1000, 100):
        await asyncio.gather(*(channel.publish(event(str(number))) for number in range(start, start + 100)))
    await taker.until(1000)
    await subscription.close()

    assert sorted(map(int, taker.ids)) == list(range(1000))


async def test_what_was_published_while_nobody_was_there_is_delivered_later(subject: Subject) -> None:
    """A subscription keeps its place, also over connections."""
    channel = await subject.channel()
    await (await channel.subscribe(subject.name, None, Taker())).close()
    channel = await subject.channel()
    await channel.publish(event("meanwhile"))
    second = Taker()
    subscription = await channel.subscribe(subject.name, None, second)
    await second.until(1)
    await subscription.close()

    assert second.deliveries == [Delivery(event("meanwhile"), 1)]


async def test_a_subscription_that_was_forgotten_begins_anew(subject: Subject) -> None:
    """Its place is gone with what waited there; forgetting what is not there is nothing."""
    channel = await subject.channel()
    await channel.forget(subject.name)
    await (await channel.subscribe(subject.name, None, Taker())).close()
    await channel.publish(event("before"))
    await channel.forget(subject.name)
    taker = Taker()
    subscription = await channel.subscribe(subject.name, None, taker)
    await channel.publish(event("after"))
    await taker.until(1)
    await subscription.close()

    assert taker.ids == ["after"]


async def test_a_take_that_raises_is_asked_again(subject: Subject) -> None:
    """A bug in the dispatcher loses nothing."""
    channel = await subject.channel()
    taker = Taker()

    async def take(delivery: Delivery) -> Done | Again:
        await taker(delivery)
        if delivery.attempt == 1:
            raise RuntimeError("a bug")
        return Done()

    subscription = await channel.subscribe(subject.name, None, take)
    await channel.publish(event("1"))
    await taker.until(2)
    await subscription.close()

    assert [one.attempt for one in taker.deliveries] == [1, 2]


async def test_what_a_killed_process_had_in_hand_is_delivered_again_and_counted(subject: Subject) -> None:
    """The attempts before it was killed, the one that nobody answered, and the next."""
    if subject.kind == "memory":
        return
    channel = await subject.channel()
    taker = Taker(Again(0.0))
    never = asyncio.Event()

    async def take(delivery: Delivery) -> Done | Again:
        answer = await taker(delivery)
        if delivery.attempt == 2:
            await never.wait()
        return answer

    subscription = await channel.subscribe(subject.name, None, take)
    await channel.publish(event("1"))
    await taker.until(2)
    await subject.killed()
    second = Taker()
    after = await (await subject.channel()).subscribe(subject.name, None, second)
    await second.until(1)
    never.set()
    await subscription.close()
    await after.close()

    assert [one.attempt for one in (*taker.deliveries, *second.deliveries)] == [1, 2, 3]


async def test_several_copies_share_the_work(subject: Subject) -> None:
    """Two connections subscribe under one name: each event goes to one of them, and both have some."""
    takers = [Taker(), Taker()]
    channels = [await subject.channel(Settings(concurrency=8, settle_seconds=0)) for _ in takers]
    subscriptions = []
    for channel, taker in zip(channels, takers, strict=True):

        async def take(delivery: Delivery, taker: Taker = taker) -> Done | Again:
            await asyncio.sleep(0.005)
            return await taker(delivery)

        subscriptions.append(await channel.subscribe(subject.name, None, take))
    await asyncio.gather(*(channels[0].publish(event(str(number))) for number in range(200)))
    async with asyncio.timeout(20):
        while sum(len(one.deliveries) for one in takers) < 200:
            await asyncio.sleep(0.01)
    for subscription in subscriptions:
        await subscription.close()

    assert sorted(map(int, takers[0].ids + takers[1].ids)) == list(range(200))
    assert min(len(one.deliveries) for one in takers) > 20


async def test_what_waits_can_be_asked_for(subject: Subject) -> None:
    """Nothing, then what nobody takes; NATS also tells how old the oldest is."""
    channel = await subject.channel()
    subscription = await channel.subscribe(subject.name, None, Taker())
    empty = await channel.backlog(subject.name)
    await subscription.close()
    for number in range(3):
        await channel.publish(event(f"{number}"))
    async with asyncio.timeout(20):
        while (found := await channel.backlog(subject.name)).waiting < 3:
            await asyncio.sleep(0.01)

    assert (empty.waiting, found.waiting) == (0, 3)
    assert (found.oldest_seconds is not None) is (subject.kind == "nats")
    assert 0 <= (found.oldest_seconds or 0) < 20


async def test_a_poison_event_holds_up_no_other(subject: Subject) -> None:
    """More of them than may be under way at once, each waiting long for its next attempt."""
    channel = await subject.channel(Settings(concurrency=8, settle_seconds=0))
    taker = Taker()

    async def take(delivery: Delivery) -> Done | Again:
        await taker(delivery)
        return Again(600.0) if delivery.event.id.startswith("poison") else Done()

    subscription = await channel.subscribe(subject.name, None, take)
    for number in range(20):
        await channel.publish(event(f"poison{number}"))
    await asyncio.gather(*(channel.publish(event(str(number))) for number in range(100)))
    await taker.until(120)
    await subscription.close()

    assert max(Counter(taker.ids).values()) == 1


async def test_a_slow_consumer_has_no_more_in_hand_than_was_set_and_slows_no_other(subject: Subject) -> None:
    """It gets the rest as it finishes."""
    channel = await subject.channel(Settings(concurrency=4, settle_seconds=0))
    slow, quick, gate = Taker(), Taker(), asyncio.Event()

    async def take(delivery: Delivery) -> Done | Again:
        await slow(delivery)
        await gate.wait()
        return Done()

    subscriptions = [
        await channel.subscribe(subject.name, None, take),
        await channel.subscribe(f"{subject.name}quick", None, quick),
    ]
    await asyncio.gather(*(channel.publish(event(str(number))) for number in range(50)))
    await quick.until(50)
    in_hand = len(await slow.until(4))
    gate.set()
    await slow.until(50)
    for subscription in subscriptions:
        await subscription.close()

    assert in_hand == 4


async def test_events_of_a_subject_are_taken_in_order_and_one_at_a_time(subject: Subject) -> None:
    """Ten subjects, one of which fails twice: its own events wait for it, the others do not."""
    channel = await subject.channel()
    taken: dict[str, list[str]] = {}
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()
    done_before_third_attempt = 0

    async def take(delivery: Delivery) -> Done | Again:
        nonlocal done_before_third_attempt
        about, name = str(delivery.event.subject), delivery.event.id
        under_way[about] += 1
        most[about] = max(most[about], under_way[about])
        await asyncio.sleep(0.001)
        under_way[about] -= 1
        if name == "0-0" and delivery.attempt < 3:
            return Again(0.4)
        if name == "0-0":
            done_before_third_attempt = sum(map(len, taken.values()))
        taken.setdefault(about, []).append(name)
        return Done()

    subscription = await channel.subscribe(subject.name, None, take, ordered=True)
    for number in range(12):
        await asyncio.gather(*(channel.publish(event(f"{one}-{number}", subject=str(one))) for one in range(10)))
    async with asyncio.timeout(20):
        while sum(map(len, taken.values())) < 120:
            await asyncio.sleep(0.01)
    await subscription.close()

    assert taken == {str(one): [f"{one}-{number}" for number in range(12)] for one in range(10)}
    assert set(most.values()) == {1}
    assert done_before_third_attempt == 108


async def test_a_subject_s_order_outlives_a_killed_process(subject: Subject) -> None:
    """What it had in hand, and what waited behind that, comes before what was published since."""
    if subject.kind == "memory":
        return
    channel = await subject.channel()
    taker, never = Taker(), asyncio.Event()

    async def take(delivery: Delivery) -> Done | Again:
        await taker(delivery)
        await never.wait()
        return Done()

    subscription = await channel.subscribe(subject.name, None, take, ordered=True)
    for number in range(3):
        await channel.publish(event(str(number), subject="one"))
    await taker.until(1)
    await subject.killed()
    channel, second = await subject.channel(), Taker()
    await channel.publish(event("3", subject="one"))
    after = await channel.subscribe(subject.name, None, second, ordered=True)
    await second.until(4)
    never.set()
    await subscription.close()
    await after.close()

    assert second.ids == ["0", "1", "2", "3"]


async def test_a_full_channel_refuses_and_keeps_what_it_has(subject: Subject) -> None:
    """Nothing old is dropped for something new."""
    if subject.kind == "memory":
        return
    channel = await subject.channel(Settings(max_bytes=100_000, settle_seconds=0))
    await (await channel.subscribe(subject.name, None, Taker())).close()
    taken: list[str] = []
    with pytest.raises(ChannelFull, match="-server: "):
        for number in range(100):
            await channel.publish(Event(id=str(number), source="/a", type="t", data=b"x" * 10_000))
            taken.append(str(number))
    taker = Taker()
    subscription = await channel.subscribe(subject.name, None, taker)
    await taker.until(len(taken))
    await subscription.close()

    assert set(taken) <= set(taker.ids)
