"""Where a RabbitMQ Broker's events wait for their next attempt: they are held in hand until their time has come."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from eventing.channels import amqp
from eventing.channels.channel import ChannelUnavailable
from eventing.channels.consumer import Consumer
from eventing.channels.link import Link, Outlet
from eventing.channels.tap import Taken

_log = logging.getLogger(__name__)
# How many one process holds; those behind them wait for a place.
_IN_HAND_MAX = 10_000
# Longer than this none is held: it goes to the end of its queue, so that those behind it have their turn, and a server
# that ends consumers which hold a message for too long (30 minutes) has no cause to.
_HELD_SECONDS_MAX = 60.0
_AGAIN_SECONDS = 1.0


class WaitingRoom:
    """One Broker's; every copy of the Broker holds some."""

    def __init__(self, outlet: Outlet, link: Link, queue: str, declare: Callable[[], Awaitable[None]]) -> None:
        self._outlet = outlet
        self._queue = queue
        self._consumer = Consumer(link, queue, _IN_HAND_MAX, declare, self._hold)
        self._opened = False

    async def open(self) -> None:
        """Begin, once.

        Raises:
            ChannelUnavailable: the server does not answer.
        """
        if not self._opened:
            await self._consumer.open()
            self._opened = True

    async def close(self) -> None:
        """Hold none any more; they stay in their queue."""
        await self._consumer.close()

    async def _hold(self, message: Taken) -> None:
        seconds = amqp.due(message) - time.time()
        if seconds > 0 and not await self._consumer.wait(min(seconds, _HELD_SECONDS_MAX)):
            return
        if seconds > _HELD_SECONDS_MAX:
            if await self._consumer.moved(message, self._outlet, self._queue, amqp.again(message)):
                message.acknowledge()
        else:
            await self._send_home(message)

    async def _send_home(self, message: Taken) -> None:
        home = amqp.home(message)
        while message.is_ours:
            try:
                if not await self._outlet.publish("", home, amqp.again(message)):
                    _log.warning("waiting_event_dropped: its Trigger's queue %s was deleted", home)
            except ChannelUnavailable as error:
                _log.info("rabbitmq_send_home_again", extra={"queue": home, "reason": str(error)})
                if not await self._consumer.wait(_AGAIN_SECONDS):
                    return
            else:
                message.acknowledge()
                return
