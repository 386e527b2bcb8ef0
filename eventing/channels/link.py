"""Connections to RabbitMQ that are made again for ever, and publishing with confirms over them.

aio-pika's own robust connection is not used: it restores what it remembers in an order of its own, and waits where we
have to answer. Here whoever uses the connection says what has to be done once it is there again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity, DeliveryError
from aiormq.abc import DeliveredMessage
from yarl import URL

from eventing.channels.channel import ChannelFull, ChannelUnavailable
from eventing.channels.tap import Tap, Taps

_log = logging.getLogger(__name__)
_CONNECT_SECONDS = 5.0
_CONNECT_AGAIN_SECONDS = (0.1, 0.2, 0.5, 1.0)
# A server that vanished without a word is noticed after two of these.
_HEARTBEAT_SECONDS = 10
_ANSWER_SECONDS = 5.0

Restore = Callable[[], Awaitable[None]]


@contextlib.contextmanager
def unavailable() -> Iterator[None]:
    """Turn every way in which the server can fail to answer into one exception."""
    try:
        yield
    except DeliveryError as error:
        raise ChannelFull("rabbitmq-server: a queue is full") from error
    except ChannelNotFoundEntity as error:
        raise ChannelUnavailable(f"rabbitmq-server: {_words(error)}") from error
    except TimeoutError as error:
        raise ChannelUnavailable(
            "rabbitmq-server: no answer in time (it blocks publishers while it is short of memory or disk)"
        ) from error
    except CONNECTION_EXCEPTIONS as error:
        raise ChannelUnavailable(f"rabbitmq-server: {_words(error)}") from error
    except asyncio.CancelledError as error:
        # The library cancels what waits on a connection that is lost; that is not our own end.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ChannelUnavailable("rabbitmq-server: the connection was lost") from error


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class Link:
    """One connection; `restored` is called, in turn, each time it is there again."""

    def __init__(self, url: str, name: str) -> None:
        parsed = URL(url)
        self._url = parsed if "heartbeat" in parsed.query else parsed.update_query(heartbeat=_HEARTBEAT_SECONDS)
        self._name = name
        self._connection: _Connection | None = None
        self._lost = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self.restored: list[Restore] = []

    async def open(self) -> None:
        """Connect, and keep connecting when the connection is lost later.

        Raises:
            ChannelUnavailable: the server cannot be reached now.
        """
        await self._connect()
        self._keeping = asyncio.create_task(self._keep())

    @property
    def connected(self) -> bool:
        """Whether there is a connection now, as far as is known."""
        return self._connection is not None and not self._lost.is_set()

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """A new AMQP channel.

        Raises:
            ChannelUnavailable: there is no connection now.
        """
        return await self._current.new_channel(confirms=confirms)

    async def tapped(self) -> tuple[AbstractChannel, Tap]:
        """A new AMQP channel, and what takes deliveries out of its connection.

        Raises:
            ChannelUnavailable: there is no connection now.
        """
        connection = self._current
        return await connection.new_channel(confirms=False), connection.taps.tap

    async def close(self) -> None:
        """Close it for good."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._drop()

    @property
    def _current(self) -> _Connection:
        if self._connection is None:
            raise ChannelUnavailable("rabbitmq-server: not connected")
        return self._connection

    async def _connect(self) -> None:
        self._lost.clear()
        with unavailable():
            connection = await aio_pika.connect(
                self._url,
                timeout=_CONNECT_SECONDS,
                client_properties={"connection_name": self._name},
                connection_class=_Connection,
            )
        connection.close_callbacks.add(self._note_loss)
        self._connection = connection

    def _note_loss(self, *_: Any) -> None:
        self._lost.set()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.taps.tap.end()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await connection.close()

    async def _keep(self) -> None:
        while True:
            await self._lost.wait()
            await self._drop()
            failures = 0
            while self._connection is None:
                await asyncio.sleep(_CONNECT_AGAIN_SECONDS[min(failures, len(_CONNECT_AGAIN_SECONDS) - 1)])
                failures += 1
                try:
                    await self._connect()
                except ChannelUnavailable as error:
                    _log.info("rabbitmq_connect_again", extra={"reason": str(error)})
            _log.info("rabbitmq_connected_again")
            for restore in list(self.restored):
                try:
                    await restore()
                except ChannelUnavailable as error:
                    _log.info("rabbitmq_restore_again", extra={"reason": str(error)})
                    self._lost.set()
                    break


class _Connection(aio_pika.Connection):
    """The library's, with a tap in it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.taps = self.kwargs["transport_factory"] = Taps()

    async def new_channel(self, *, confirms: bool) -> AbstractChannel:
        """A new AMQP channel; raises ChannelUnavailable."""
        with unavailable():
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self.channel(publisher_confirms=confirms)


class Outlet:
    """Publishes with confirms, over an AMQP channel that is opened again where the server closed it."""

    def __init__(self, link: Link, timeout_seconds: float) -> None:
        self._link = link
        self._timeout_seconds = timeout_seconds
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    async def publish(self, exchange: str, key: str, message: AbstractMessage) -> bool:
        """Return once the server confirmed that every queue it goes to has stored it; answers whether one is there.

        Raises:
            ChannelUnavailable: it did not; ChannelFull where a queue has no room.
        """
        channel = await self._open()
        with unavailable():
            async with asyncio.timeout(self._timeout_seconds):
                underlay = cast(aiormq.Channel, await channel.get_underlay_channel())
                confirmed = await underlay.basic_publish(
                    message.body,
                    exchange=exchange,
                    routing_key=key,
                    properties=message.properties,
                    mandatory=True,
                    wait=False,
                )
        return not isinstance(confirmed, DeliveredMessage)

    async def _open(self) -> AbstractChannel:
        channel = self._channel
        if channel is None or channel.is_closed:
            async with self._opening:
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._link.channel(confirms=True)
                channel = self._channel
        return channel
