"""Ends what is done for a caller who has gone: its connection was closed, by itself or by a gateway that gave up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope

# What changes something is done to its end, and its answer may be asked for again.
_CHANGES_NOTHING = frozenset({"GET", "HEAD"})
# Most calls have ended by then, and a task beside each would cost them more than it saves.
WATCHED_AFTER_SECONDS = 0.5


class CallerGone(Exception):
    """Nobody waits for this answer any more."""


@contextlib.asynccontextmanager
async def until_hangup(scope: Scope, receive: Receive) -> AsyncIterator[None]:
    """Cancel what is inside when the caller of a GET or HEAD is gone; its statement in PostgreSQL ends with it.

    Raises:
        CallerGone: so it was.
    """
    if scope["method"] not in _CHANGES_NOTHING:
        yield
        return
    loop, tasks = asyncio.get_running_loop(), list[asyncio.Task[None]]()

    async def watch(limit: asyncio.Timeout) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        limit.reschedule(loop.time())

    try:
        async with asyncio.timeout(None) as limit:
            timer = loop.call_later(WATCHED_AFTER_SECONDS, lambda: tasks.append(loop.create_task(watch(limit))))
            try:
                yield
            finally:
                timer.cancel()
                for task in tasks:
                    task.cancel()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise CallerGone from error
