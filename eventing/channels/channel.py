"""The contract between a Broker and what keeps its events.

- `publish` returns when the event is stored as durably as the channel can; before that nobody may be told that it was
  taken. An event of a source and id that was stored a moment ago may be stored once (deduplication saves traffic only;
  consumers recognise repetitions themselves).
- Each subscription sees every event published after it was first made, at least once. Its place survives a restart of
  the Broker, and of a durable channel's server.
- `take` is called for each delivery, several at once, in no promised order. It answers what to do with the event:
  `Done` (never again) or `Again` (after so many seconds). An event whose `take` never answered, because the process was
  killed, is delivered again.
- `attempt` counts the deliveries of one event to one subscription, from 1, over restarts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from eventing.event import Event


class ChannelUnavailable(Exception):
    """The channel did not store the event, or it is not known whether it did; publishing it again is safe."""


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one subscription."""

    event: Event
    attempt: int


@dataclass(frozen=True)
class Done:
    """The event is settled for this subscription."""


@dataclass(frozen=True)
class Again:
    """Deliver it again, not before so many seconds have passed."""

    seconds: float


Take = Callable[[Delivery], Awaitable[Done | Again]]


class Subscription(Protocol):
    """A running subscription."""

    async def close(self) -> None:
        """Take no more; return when what was taken is answered."""


class Channel(Protocol):
    """One Broker's events."""

    async def publish(self, event: Event) -> None:
        """Store an event; raises ChannelUnavailable."""

    async def subscribe(self, name: str, event_type: str | None, take: Take) -> Subscription:
        """Deliver to *take* from now on, or from where the subscription of this name was left.

        *event_type* may spare the channel from delivering other types; None means all.
        """


class Channels(Protocol):
    """Makes the channel of a Broker."""

    async def channel(self, namespace: str, broker: str) -> Channel:
        """The channel of this Broker, created where it does not exist; raises ChannelUnavailable."""

    async def close(self) -> None:
        """Close the connection."""
