"""Small servers for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import wraps

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def quiet(handler: Handler) -> Handler:
    """A handler for `asyncio.start_server` that ends without a word when its client, or the test, has gone.

    asyncio (3.11) reports a handler that is cancelled when the loop closes as an error in a callback of its own.
    """

    @wraps(handler)
    async def handle(*arguments: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await handler(*arguments)  # type: ignore[arg-type]
        writer = arguments[-1]
        assert isinstance(writer, asyncio.StreamWriter)
        writer.close()

    return handle
