"""A channel in this process's memory: for tests of what stands on channels. It survives the Broker, not the process."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from itertools import count

from eventing.channels.channel import Again, Backlog, Delivery, Features, Take
from eventing.channels.lanes import Lanes, NotTaken
from eventing.channels.recent import KEPT_SECONDS, Recent
from eventing.channels.settings import Settings
from eventing.channels.taking import answer
from eventing.event import Event


@dataclass
class _Place:
    """What waits for one subscription, in the order of publishing, and the copies of the Broker that share it."""

    event_type: str | None
    waiting: list[tuple[int, Delivery]] = field(default_factory=list)
    takers: list[_MemorySubscription] = field(default_factory=list)

    def offer(self, number: int, delivery: Delivery) -> None:
        """Have it delivered as soon as somebody is free."""
        heapq.heappush(self.waiting, (number, delivery))
        self.hand_out()

    def hand_out(self) -> None:
        """Give what waits to those who are free."""
        while self.waiting and (free := [one for one in self.takers if one.free > 0]):
            max(free, key=lambda one: one.free).start(*heapq.heappop(self.waiting))


class _MemorySubscription:
    def __init__(self, place: _Place, take: Take, concurrency: int) -> None:
        self._place = place
        self._take = take
        self._concurrency = concurrency
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> int:
        """How many more may be under way."""
        return self._concurrency - len(self._tasks)

    def start(self, number: int, delivery: Delivery) -> None:
        """Deliver it."""
        task = asyncio.get_running_loop().create_task(self._deliver(number, delivery))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._place.hand_out()

    async def _deliver(self, number: int, delivery: Delivery) -> None:
        try:
            answered = await answer(self._take, delivery)
        except NotTaken:
            answered = Again(0.0)
        if isinstance(answered, Again):
            again = Delivery(delivery.event, delivery.attempt + 1)
            asyncio.get_running_loop().call_later(answered.seconds, self._place.offer, number, again)

    async def close(self) -> None:
        """Take no more; what is under way is finished, what waits stays for the next one."""
        if self in self._place.takers:
            self._place.takers.remove(self)
        if isinstance(self._take, Lanes):
            self._take.close()
        await asyncio.gather(*self._tasks)


class MemoryChannel:
    """The places of its subscriptions, each with what waits there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places: dict[str, _Place] = {}
        self._published = Recent()
        self._numbers = count()

    async def publish(self, event: Event) -> None:
        """Put the event into every place that wants it."""
        identity = ("", event.source, event.id)
        if identity in self._published:
            return
        self._published.add(identity)
        number = next(self._numbers)
        for place in list(self._places.values()):
            if place.event_type in {None, event.type}:
                place.offer(number, Delivery(event, 1))

    async def subscribe(
        self, name: str, event_type: str | None, take: Take, *, ordered: bool = False
    ) -> _MemorySubscription:
        """Deliver from now on, or from where the subscription of this name was left."""
        place = self._places.setdefault(name, _Place(event_type))
        place.event_type = event_type
        concurrency = self._settings.concurrency
        if ordered:
            take, concurrency = Lanes(take, concurrency), concurrency + self._settings.parked
        subscription = _MemorySubscription(place, take, concurrency)
        place.takers.append(subscription)
        place.hand_out()
        return subscription

    async def forget(self, name: str) -> None:
        """Drop the place."""
        self._places.pop(name, None)

    async def backlog(self, name: str) -> Backlog:
        """What waits in the place, and nothing of what is under way."""
        return Backlog(len(self._places[name].waiting), None)


class MemoryChannels:
    """One MemoryChannel a Broker."""

    features = Features(
        name="memory",
        survives_restart=False,
        survives_power_cut="no",
        dedup_seconds=KEPT_SECONDS,
        dedup_by="the channel",
        again="before what is new",
        take_seconds_max=float("inf"),
        order="over all subscriptions of this process, as long as each event comes again to the same one",
        kept_seconds=float("inf"),
    )

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._channels: dict[tuple[str, str], MemoryChannel] = {}

    async def channel(self, namespace: str, broker: str) -> MemoryChannel:
        """The channel of this Broker."""
        return self._channels.setdefault((namespace, broker), MemoryChannel(self._settings))

    async def close(self) -> None:
        """Nothing is held."""
