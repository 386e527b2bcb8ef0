"""One Wake function under func-python: `FUNCTION` (a name such as `orders-place`) says which.

func-python answers the ASGI lifespan itself and does not hand it on (func-python 0.8.1, http.py), so that the app's own
start-up runs at the first request, and its end at `stop`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from functions.app import Operation
from functions.operations import load


def new() -> Function:
    """Make what func-python serves.

    Raises:
        ValueError: FUNCTION names no function, the message lists those there are; or one that answers gRPC.
    """
    return Function(os.environ.get("FUNCTION", "users-keys"))


class Function:
    """One function's ASGI app, with the hooks that func-python calls."""

    def __init__(self, name: str) -> None:
        app = load(name)
        if not isinstance(app, Operation):
            raise ValueError(f"{name} answers gRPC, which func-python does not serve: python -m functions {name}")  # noqa: TRY004 - the setting is wrong.
        self.app = app
        self._lifespan = self.app.router.lifespan_context(self.app)
        self._starting: asyncio.Lock | None = None
        self._started = False
        self._stopping: asyncio.Task[bool | None] | None = None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if not self._started:
            self._starting = self._starting or asyncio.Lock()
            async with self._starting:
                if not self._started:
                    await self._lifespan.__aenter__()
                    self._started = True
        await self.app(scope, receive, send)

    def start(self, _: Mapping[str, str]) -> None:
        """Nothing yet: func-python 0.8.1 does not await this."""

    def stop(self) -> None:
        """Close what was opened; func-python 0.8.1 does not await this either, so the loop is asked to."""
        if self._started:
            self._started = False
            self._stopping = asyncio.get_running_loop().create_task(self._lifespan.__aexit__(None, None, None))

    def alive(self) -> tuple[bool, str]:
        """The process answers, so it is alive."""
        return True, "alive"

    def ready(self) -> tuple[bool, str]:
        """Requests are taken at once; the first one starts the app."""
        return True, "ready"
