"""The contract between a Broker and what keeps its events.

**When a publish is durable.** `publish` returns when the event is stored as durably as the channel can (`Features`
says how durable that is); before that nobody may be told that it was taken. When it raises `ChannelUnavailable` the
event may or may not be stored, and publishing it again under the same id is safe. An event of a source and id that was
published a moment ago may be stored once: that saves traffic and is no promise, consumers know repetitions themselves.

**Who gets what.** Each subscription sees every event published after it was first made, at least once. Several copies
of a Broker that subscribe under one name share that subscription's events: each event goes to one of them.

**Who acknowledges, and when.** `take` is called for each delivery and answers what to do with the event: `Done` (never
again) or `Again` (not before so many seconds). The channel settles the delivery only after that answer. An event whose
`take` never answered, because the process was killed or the server was, is delivered again; so is one whose `take`
raised. As long as `take` runs the channel keeps the delivery for it, within `take_seconds_max`.

**In what order.** `take` is called in the order of publishing but for several events at once, so that events overtake
each other, unless the subscription was made with *ordered*. Then two events of one subject are never under way at
once, each is taken after the one published before it is done, and one that is to come again holds up its own subject
only. Where that ends (several copies, a killed process) is in `Features`.

**How often.** `attempt` counts the deliveries of one event to one subscription, from 1, over restarts of the Broker and
of the server. A delivery whose end nobody saw counts as one.

**What survives.** A subscription's place, events that wait and events that wait for their next attempt survive a
restart of the Broker, and of a durable channel's server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from eventing.event import Event


class ChannelUnavailable(Exception):
    """The channel did not store the event, or it is not known whether it did; publishing it again is safe."""

    retry_after_seconds = 1.0


class ChannelFull(ChannelUnavailable):
    """The channel refused the event because it has no room; those that it holds are safe."""

    # It is not emptied in a second.
    retry_after_seconds = 5.0


@dataclass(frozen=True)
class Features:
    """What one channel promises; `docs/guides/channels.md` shows them side by side."""

    name: str
    # What was published is there after a restart of the server, and after a power cut.
    survives_restart: bool
    survives_power_cut: str
    # Source and id together: for how long, and by whom repetitions are recognised (0: not at all).
    dedup_seconds: float
    dedup_by: str
    # Where an event stands when its wait is over.
    again: str
    # How long one delivery may be in hand.
    take_seconds_max: float
    # Where order by subject (a subscription made with *ordered*) ends.
    order: str
    # When an event is dropped though nobody had it.
    kept_seconds: float


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


@dataclass(frozen=True)
class Backlog:
    """What one subscription has not settled: how many events, and since when (seconds) the oldest of them is stored.

    *oldest_seconds* is None where the channel does not know.
    """

    waiting: int
    oldest_seconds: float | None


Take = Callable[[Delivery], Awaitable[Done | Again]]


class Subscription(Protocol):
    """A running subscription."""

    async def close(self) -> None:
        """Take no more; return when what was taken is answered."""


class Channel(Protocol):
    """One Broker's events."""

    async def publish(self, event: Event) -> None:
        """Store an event.

        Raises:
            ChannelUnavailable: it is not known to be stored; ChannelFull where there is no room for it.
        """

    async def subscribe(self, name: str, event_type: str | None, take: Take, *, ordered: bool = False) -> Subscription:
        """Deliver to *take* from now on, or from where the subscription of this name was left.

        *event_type* may spare the channel from delivering other types; None means all. *ordered* keeps the events of
        a subject in order.

        Raises:
            ChannelUnavailable: the channel does not answer.
        """

    async def forget(self, name: str) -> None:
        """Give up the place of a subscription for good, with what waits there; nothing happens where there is none.

        Raises:
            ChannelUnavailable: the channel does not answer.
        """

    async def backlog(self, name: str) -> Backlog:
        """What waits for the subscription of this name, as far as the channel can tell.

        Raises:
            ChannelUnavailable: the channel does not answer, or knows no such subscription.
        """


class Channels(Protocol):
    """Makes the channel of a Broker."""

    @property
    def features(self) -> Features:
        """What these channels promise."""

    async def channel(self, namespace: str, broker: str) -> Channel:
        """The channel of this Broker, created where it does not exist; raises ChannelUnavailable."""

    async def close(self) -> None:
        """Close the connection."""
