"""A channel in this process's memory: for tests of what stands on channels. It survives nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from eventing.channels.channel import Again, Delivery, Take
from eventing.event import Event


@dataclass
class _MemorySubscription:
    event_type: str | None
    take: Take
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    closed: bool = False

    def offer(self, event: Event) -> None:
        if not self.closed and self.event_type in {None, event.type}:
            task = asyncio.get_running_loop().create_task(self._deliver(event))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _deliver(self, event: Event) -> None:
        attempt = 1
        while isinstance(answer := await self.take(Delivery(event, attempt)), Again):
            await asyncio.sleep(answer.seconds)
            attempt += 1

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(*self.tasks)


class MemoryChannel:
    """Keeps nothing: an event goes to the subscriptions there are."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, _MemorySubscription] = {}
        self._seen: set[tuple[str, str]] = set()

    async def publish(self, event: Event) -> None:
        """Offer the event to every subscription."""
        if (event.source, event.id) in self._seen:
            return
        self._seen.add((event.source, event.id))
        for subscription in self._subscriptions.values():
            subscription.offer(event)

    async def subscribe(self, name: str, event_type: str | None, take: Take) -> _MemorySubscription:
        """Deliver from now on."""
        self._subscriptions[name] = _MemorySubscription(event_type, take)
        return self._subscriptions[name]


class MemoryChannels:
    """One MemoryChannel a Broker."""

    def __init__(self) -> None:
        self._channels: dict[tuple[str, str], MemoryChannel] = {}

    async def channel(self, namespace: str, broker: str) -> MemoryChannel:
        """The channel of this Broker."""
        return self._channels.setdefault((namespace, broker), MemoryChannel())

    async def close(self) -> None:
        """Nothing is held."""
