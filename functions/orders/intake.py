"""Reads the orders of a stream ahead of who places them, with a bound on how many are under way; publishes behind it.

What a client sends beyond the bound is not read, and so waits in HTTP/2's flow control, on its side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Self

from functions.orders.streams import End
from protos.orders.v1.orders_pb2 import PlaceOrdersRequest

# Read and not acknowledged: what protos/orders/v1/orders.proto promises.
UNDER_WAY_MAX = 256
# Several batches: while one is committed the next arrives.
BATCH_MAX = 64


class Intake(contextlib.AbstractAsyncContextManager["Intake"]):
    """The orders of one stream that are under way; whoever acknowledges some says so to `acknowledged`."""

    def __init__(self, stream: Any, end: End) -> None:
        self._stream, self._end = stream, end
        self._room = asyncio.Semaphore(UNDER_WAY_MAX)
        self._read: list[PlaceOrdersRequest] = []
        self._arrived = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to read."""
        self._reading = asyncio.create_task(self._read_on())
        self._end.add_done_callback(lambda _: self.stop())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Read no more."""
        self.stop()

    def statistics(self) -> dict[str, int]:
        """How many orders wait to be placed, and for how many more there is room."""
        return {"waiting": len(self._read), "room": self._room._value}  # noqa: SLF001 - a semaphore does not say.

    def stop(self) -> None:
        """Read no more; what was read is still to be had."""
        if self._reading is not None:
            self._reading.cancel()

    def acknowledged(self, count: int) -> None:
        """So many are under way no more."""
        for _ in range(count):
            self._room.release()

    async def batch(self) -> list[PlaceOrdersRequest]:
        """What has been read meanwhile, whose keys differ; waits for the first. Empty: there is nothing more to come.

        Raises:
            Exception: what the reading ended with.
        """
        while not self._read:
            if self._reading is None or self._reading.done():
                return self._ended()
            self._arrived.clear()
            await self._arrived.wait()
        return self._taken()

    def _taken(self) -> list[PlaceOrdersRequest]:
        keys: set[str] = set()
        for request in self._read[:BATCH_MAX]:
            if request.key in keys:
                # A repetition is told what became of the first one, which has to be over for that.
                break
            keys.add(request.key)
        taken, self._read = self._read[: len(keys)], self._read[len(keys) :]
        return taken

    def _ended(self) -> list[PlaceOrdersRequest]:
        if self._reading is not None and not self._reading.cancelled():
            self._reading.result()
        return []

    async def _read_on(self) -> None:
        try:
            while True:
                await self._room.acquire()
                request = await self._stream.recv_message()
                if request is None:
                    return
                self._read.append(request)
                self._arrived.set()
        finally:
            self._arrived.set()


class Publishing(contextlib.AbstractAsyncContextManager["Publishing"]):
    """Publishes what a batch recorded while that is acknowledged and the next one is placed; batch after batch."""

    def __init__(self, publish: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._publish = publish
        self._before: asyncio.Task[None] | None = None
        self._last: asyncio.Task[None] | None = None

    def committed(self) -> None:
        """Publish what has been recorded, after what was recorded before."""
        self._before, self._last = self._last, asyncio.create_task(self._publish_after(self._last))

    async def wait_until_close(self) -> None:
        """Wait until no more than the last batch is unpublished: a stream never runs far ahead of its events."""
        await _over(self._before)

    async def __aexit__(self, *_: object) -> None:
        """Let it come to its end, also where the call was cancelled: what is left here waits for outbox-relay."""
        await _over(self._last)

    async def _publish_after(self, before: asyncio.Task[None] | None) -> None:
        await _over(before)
        await self._publish()


async def _over(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        await asyncio.wait([task])
