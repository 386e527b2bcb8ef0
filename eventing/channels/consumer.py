"""Takes messages of one RabbitMQ queue, and begins again whenever the connection, or the queue, was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, cast

import aiormq
from aio_pika.abc import AbstractChannel, AbstractMessage

from eventing.channels.channel import ChannelUnavailable
from eventing.channels.link import Link, Outlet, unavailable
from eventing.channels.tap import Inlet, Taken

_log = logging.getLogger(__name__)
_ANSWER_SECONDS = 3.0
_AGAIN_SECONDS = 1.0


Handle = Callable[[Taken], Coroutine[Any, Any, None]]


class Consumer:
    """At most so many messages in hand, each with a task of its own that settles it."""

    def __init__(
        self, link: Link, queue: str, in_hand_max: int, declare: Callable[[], Awaitable[None]], handle: Handle
    ) -> None:
        self._link = link
        self._queue = queue
        self._in_hand_max = in_hand_max
        self._declare = declare
        self._handle = handle
        self._channel: AbstractChannel | None = None
        self._inlet: Inlet | None = None
        self._tag: str | None = None
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Begin.

        Raises:
            ChannelUnavailable: the server does not answer.
        """
        await self._consume()
        self._link.restored.append(self._consume)

    async def close(self, before_waiting: Callable[[], None] | None = None) -> None:
        """Take no more, finish what is under way; what nobody settled goes back to the queue."""
        self._closing.set()
        with contextlib.suppress(ValueError):
            self._link.restored.remove(self._consume)
        if self._channel is not None and self._tag is not None and not self._channel.is_closed:
            await self._cancel(self._channel, self._tag)
        if before_waiting is not None:
            before_waiting()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._inlet is not None:
            self._inlet.end()
        if self._channel is not None:
            await closed(self._channel)

    async def wait(self, seconds: float) -> bool:
        """Wait; answers False where it was closed meanwhile."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return True
        return False

    async def moved(self, message: Taken, outlet: Outlet, queue: str, changed: AbstractMessage) -> bool:
        """Have a message stored in another queue, as long as it is ours; False where it is not, and comes again."""
        while message.is_ours:
            try:
                if await outlet.publish("", queue, changed):
                    return True
                reason = "there is no such queue"
            except ChannelUnavailable as error:
                reason = str(error)
            _log.info("rabbitmq_move_again", extra={"queue": queue, "reason": reason})
            if not await self.wait(_AGAIN_SECONDS):
                break
        return False

    async def _consume(self) -> None:
        async with self._opening:
            if self._closing.is_set():
                return
            await self._declare()
            channel, tap = await self._link.tapped()
            self._channel = channel
            underlay = cast(aiormq.Channel, await channel.get_underlay_channel())
            self._inlet = tap.inlet(underlay.number, self._arrived)
            with self._answering():
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await channel.set_qos(prefetch_count=self._in_hand_max)
                    consuming = await underlay.basic_consume(self._queue, _not_tapped)
                    self._tag = consuming.consumer_tag
            underlay.on_consumer_cancel_callbacks.add(self._ended)
            channel.close_callbacks.add(self._ended)

    async def _cancel(self, channel: AbstractChannel, tag: str) -> None:
        with contextlib.suppress(ChannelUnavailable), self._answering():
            queue = await channel.get_queue(self._queue, ensure=False)
            await queue.cancel(tag, timeout=_ANSWER_SECONDS)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """The library closes a channel whose server does not answer in time; nothing may be written to it then."""
        try:
            with unavailable():
                yield
        except ChannelUnavailable:
            if self._inlet is not None:
                self._inlet.end()
            raise

    def _ended(self, *_: Any) -> None:
        """The server ended this consumer alone: its queue was deleted, or a delivery took too long."""
        if not self._closing.is_set() and self._link.connected:
            self._start(self._consume_again())

    async def _consume_again(self) -> None:
        while not self._closing.is_set() and self._link.connected:
            try:
                await self._consume()
            except ChannelUnavailable as error:
                _log.info("rabbitmq_consume_again", extra={"queue": self._queue, "reason": str(error)})
                await self.wait(_AGAIN_SECONDS)
            else:
                return

    def _arrived(self, message: Taken) -> None:
        self._start(self._handle(message))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def closed(channel: AbstractChannel) -> None:
    """Close it, as far as the server still answers."""
    with contextlib.suppress(ChannelUnavailable), unavailable():
        await channel.close()


async def _not_tapped(message: object) -> None:
    """What the library would call, if the deliveries were not taken before it sees them."""
    raise AssertionError(message)
