"""The channel on RabbitMQ: an exchange a Broker, a quorum queue a Trigger; `topology` says what stands on the server.

Publishing and taking have a connection each, because a server that is short of memory or disk stops reading from those
that publish, and acknowledgements have to get through then more than ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractChannel, ExchangeType
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from eventing.channels import amqp, topology
from eventing.channels.channel import Again, Backlog, ChannelUnavailable, Delivery, Done, Features, Take
from eventing.channels.consumer import Consumer, closed
from eventing.channels.lanes import Lanes, NotTaken
from eventing.channels.link import Link, Outlet, unavailable
from eventing.channels.recent import KEPT_SECONDS, Recent
from eventing.channels.settings import Settings
from eventing.channels.taking import answer
from eventing.channels.tap import Taken
from eventing.channels.waiting import WaitingRoom
from eventing.event import Event

_log = logging.getLogger(__name__)
_PUBLISH_TIMEOUT_SECONDS = 3.0
# An ordered event waits for its next attempt in hand, and before RabbitMQ 3.12 nothing may be in hand for 30 minutes.
_ORDERED_WAIT_SECONDS_MAX = 20 * 60.0


class RabbitChannels:
    """Two connections to RabbitMQ; a channel for each Broker."""

    def __init__(self, publishing: Link, taking: Link, settings: Settings) -> None:
        self._taking = taking
        self._publishing = publishing
        self._server = _Server(publishing, settings)
        self._settings = settings
        self._channels: dict[str, RabbitChannel] = {}

    @property
    def features(self) -> Features:
        """What RabbitMQ promises."""
        return Features(
            name="RabbitMQ",
            survives_restart=True,
            survives_power_cut="yes: a quorum queue's log is on disk on a majority before it confirms",
            dedup_seconds=KEPT_SECONDS,
            dedup_by="the copy of the Broker that took the event",
            again="at the end of what waits, as long as no more than 10,000 events wait for their next attempt",
            take_seconds_max=topology.CONSUMER_SECONDS_MAX,
            order="within one copy of the Broker; what a killed copy had in hand comes first",
            kept_seconds=self._settings.keep_seconds,
        )

    @classmethod
    async def connect(cls, url: str, settings: Settings | None = None) -> RabbitChannels:
        """Connect, and keep connecting for ever when the server goes away later.

        Raises:
            ChannelUnavailable: the server cannot be reached now.
        """
        publishing, taking = Link(url, "wake: publishing"), Link(url, "wake: taking")
        await publishing.open()
        try:
            await taking.open()
        except ChannelUnavailable:
            await publishing.close()
            raise
        return cls(publishing, taking, settings or Settings())

    async def channel(self, namespace: str, broker: str) -> RabbitChannel:
        """The Broker's exchange, created where it does not exist.

        Raises:
            ChannelUnavailable: the server does not answer.
        """
        name = topology.exchange(namespace, broker)
        await self._server.declare_exchange(name)
        return self._channels.setdefault(name, RabbitChannel(self._server, self._taking, name))

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))
        await asyncio.gather(self._publishing.close(), self._taking.close())


class RabbitChannel:
    """One Broker's exchange and its queues."""

    def __init__(self, server: _Server, taking: Link, exchange: str) -> None:
        self._server = server
        self._taking = taking
        self._exchange = exchange
        self._waiting = WaitingRoom(server.outlet, taking, topology.waiting(exchange), self._declare)
        # What each queue is bound by, as far as this process knows.
        self._bound: dict[str, str] = {}

    async def publish(self, event: Event) -> None:
        """Store an event; returns when every queue that wants it has it on disk.

        An event that no Trigger wants is taken and dropped, as by any Broker.

        Raises:
            ChannelUnavailable: one of them has not; ChannelFull where it has no room.
        """
        identity = (self._exchange, event.source, event.id)
        if identity in self._server.published:
            return
        key = topology.routing_key(event.type)
        routed = await self._server.outlet.publish(self._exchange, key, amqp.to_message(event))
        if not routed and not {"#", key}.isdisjoint(self._bound.values()):
            raise ChannelUnavailable("rabbitmq-server: the queue of a Trigger is gone; it is being made again")
        self._server.published.add(identity)

    async def subscribe(
        self, name: str, event_type: str | None, take: Take, *, ordered: bool = False
    ) -> _QueueSubscription:
        """Deliver from now on, or from where the queue of this name was left.

        Raises:
            ChannelUnavailable: the server does not answer.
        """
        queue, key = topology.queue(name), "#" if event_type is None else topology.routing_key(event_type)
        source = _Source(self._exchange, queue, key, event_type)
        subscription = _QueueSubscription(self._server, self._taking, source, take, ordered=ordered)
        await subscription.open()
        await self._waiting.open()
        if (before := self._bound.get(queue, key)) != key:
            await self._server.unbind(queue, self._exchange, before)
        self._bound[queue] = key
        return subscription

    async def close(self) -> None:
        """Hold no more events until their next attempt: another copy does, or the next one here."""
        await self._waiting.close()

    async def _declare(self) -> None:
        await self._server.declare_exchange(self._exchange)

    async def forget(self, name: str) -> None:
        """Delete the queue.

        Raises:
            ChannelUnavailable: the server does not answer.
        """
        queue = topology.queue(name)
        self._bound.pop(queue, None)
        await self._server.delete(queue)

    async def backlog(self, name: str) -> Backlog:
        """What is ready in the queue: AMQP tells neither what is in hand nor how old anything is.

        Raises:
            ChannelUnavailable: the server does not answer.
        """
        return Backlog(await self._server.ready(topology.queue(name)), None)


class _Server:
    """What stands on the server: made where it is missing, as often as somebody asks."""

    def __init__(self, link: Link, settings: Settings) -> None:
        self._link = link
        self.settings = settings
        self.outlet = Outlet(link, _PUBLISH_TIMEOUT_SECONDS)
        self.published = Recent()
        link.restored.append(self._forget_published)

    async def declare_exchange(self, name: str) -> None:
        """Make a Broker's exchange, and the queue of those that are to come again."""
        async with self._declaring() as channel:
            await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True)
        await self._declare(topology.waiting(name), topology.waiting_arguments(self.settings))

    async def declare_queue(self, name: str, exchange: str, key: str) -> None:
        """Make a Trigger's queue and bind it to its Broker's exchange."""
        await self.declare_exchange(exchange)
        new = await self._is_new(name)
        await self._declare(topology.parked(name), topology.parked_arguments(self.settings))
        await self._declare(name, topology.trigger_arguments(name, self.settings))
        if new:
            await asyncio.sleep(self.settings.settle_seconds)
        async with self._declaring() as channel:
            await (await channel.get_queue(name, ensure=False)).bind(exchange, key)

    async def unbind(self, queue: str, exchange: str, key: str) -> None:
        """Route no more events of this key to a queue."""
        async with self._declaring() as channel:
            await (await channel.get_queue(queue, ensure=False)).unbind(exchange, key)

    async def delete(self, queue: str) -> None:
        """Delete a Trigger's queue; the events that nobody could take stay, if there are any."""
        async with self._declaring() as channel:
            await channel.queue_delete(queue)
            with contextlib.suppress(ChannelNotFoundEntity):
                parked = await channel.declare_queue(topology.parked(queue), passive=True)
                # A quorum queue knows no "delete if empty".
                if not parked.declaration_result.message_count:
                    await channel.queue_delete(parked.name)

    async def ready(self, queue: str) -> int:
        """Messages that nobody has in hand."""
        async with self._declaring() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0

    async def _is_new(self, name: str) -> bool:
        async with self._declaring() as channel:
            try:
                await channel.declare_queue(name, passive=True)
            except ChannelNotFoundEntity:
                return True
        return False

    async def _declare(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Make a queue; one that was made with other settings stays as it is, because only people may delete it."""
        try:
            async with self._declaring() as channel:
                await channel.declare_queue(name, durable=True, arguments=dict(arguments))
        except _OtherSettings as error:
            _log.warning("queue_has_other_settings: %s", error)

    @contextlib.asynccontextmanager
    async def _declaring(self) -> AsyncIterator[AbstractChannel]:
        """A channel of its own, because the server closes the channel of a declaration that it refuses."""
        channel = await self._link.channel()
        try:
            with unavailable():
                try:
                    async with asyncio.timeout(_PUBLISH_TIMEOUT_SECONDS * 2):
                        yield channel
                except ChannelPreconditionFailed as error:
                    raise _OtherSettings(str(error)) from error
        finally:
            await closed(channel)

    async def _forget_published(self) -> None:
        """A server that came back may have lost what it had."""
        self.published.clear()


class _OtherSettings(Exception):
    """A queue of this name exists with other arguments."""


@dataclass(frozen=True)
class _Source:
    """Where a subscription's events come from."""

    exchange: str
    queue: str
    key: str
    event_type: str | None


class _QueueSubscription:
    """Takes as many events of a queue as may be in hand, and gives each to `take`."""

    def __init__(self, server: _Server, link: Link, source: _Source, take: Take, *, ordered: bool) -> None:
        self._server = server
        self._source = source
        self._lanes = Lanes(take, server.settings.concurrency) if ordered else None
        self._take: Take = self._lanes or take
        in_hand_max = server.settings.concurrency + server.settings.parked * ordered
        self._consumer = Consumer(link, source.queue, in_hand_max, self._declare, self._handle)

    async def open(self) -> None:
        """Begin; raises ChannelUnavailable."""
        await self._consumer.open()

    async def close(self) -> None:
        """Take no more, finish what is under way."""
        await self._consumer.close(self._lanes.close if self._lanes is not None else None)

    async def _declare(self) -> None:
        await self._server.declare_queue(self._source.queue, self._source.exchange, self._source.key)

    async def _handle(self, message: Taken) -> None:
        event = amqp.of_message(message)
        if event is None:
            _log.error("foreign_message_in_queue", extra={"queue": self._source.queue})
            message.acknowledge()
        elif self._source.event_type not in {None, event.type}:
            message.acknowledge()
        else:
            attempt = amqp.attempt(message.headers, redelivered=message.redelivered)
            await self._deliver(message, Delivery(event, attempt))

    async def _deliver(self, message: Taken, delivery: Delivery) -> None:
        try:
            answered = await answer(self._take, delivery)
        except NotTaken:
            # It goes back when the channel is closed, to where it was.
            return
        if isinstance(answered, Again) and self._lanes is not None:
            await self._consumer.wait(min(answered.seconds, _ORDERED_WAIT_SECONDS_MAX))
            message.give_back()
        elif isinstance(answered, Done) or await self._set_aside(message, delivery, answered.seconds):
            message.acknowledge()

    async def _set_aside(self, message: Taken, delivery: Delivery, seconds: float) -> bool:
        """Have it stored for later before it is acknowledged; False where the delivery is lost, and comes again."""
        due, queue = time.time() + seconds, self._source.queue
        waiting = amqp.to_waiting(delivery.event, delivery.attempt, due, queue)
        return await self._consumer.moved(
            message, self._server.outlet, topology.waiting(self._source.exchange), waiting
        )
