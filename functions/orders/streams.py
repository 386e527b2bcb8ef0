"""When an open stream has to end, for its client to go on in another one."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable
from typing import TypeAlias, TypeVar

from functions.errors import Unavailable

_SECONDS_MAX = 285.0
_T = TypeVar("_T")

# Is done when the stream has to end.
End: TypeAlias = "asyncio.Task[None]"


class ToBeResumed(Unavailable):
    """This stream ends here, and nothing is wrong: open another one, and go on from where you are."""


@contextlib.asynccontextmanager
async def ending(draining: asyncio.Event) -> AsyncIterator[End]:
    """The end of the stream that is open now: the process is told to stop, or STREAM_SECONDS_MAX are over.

    They have to be less than the Service's `timeoutSeconds`, after which the stream would be cut.
    """
    end = asyncio.create_task(_wait_until_end(draining, float(os.environ.get("STREAM_SECONDS_MAX", _SECONDS_MAX))))
    try:
        yield end
    finally:
        end.cancel()


async def _wait_until_end(draining: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await draining.wait()


async def unless(end: End, work: Awaitable[_T]) -> _T:
    """What *work* answers.

    Raises:
        ToBeResumed: the stream has to end before that; the work is cancelled.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait([working, end], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ToBeResumed
        return working.result()
    finally:
        working.cancel()
