"""Wake under func-python: the whole API in one process, or what the setting FUNCTION says.

`api` (the default) is every function that callers reach, `events` every one that only the platform calls (each at a
path of its own, /orders-confirm), a name such as `orders-place` that function alone.

func-python answers the ASGI lifespan itself and does not hand it on (func-python 0.8.1, http.py): here the app's start
begins with `start`, requests wait for it, and `stop` ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from functions import logs, problems, together
from functions.together import Served, Together

_log = logging.getLogger("functions")
# How a Secret or ConfigMap stands in func.yaml; `func run` passes it on as it is (knative/func#1536).
_REFERENCE = "{{"


def new() -> Function:
    """Make what func-python serves.

    Raises:
        ValueError: FUNCTION names nothing that can be served, and the message lists what can be; or a setting is
            missing, or was not filled in.
    """
    app = together.served(os.environ.get("FUNCTION", "api"))
    require_usable(app, os.environ)
    if isinstance(app, Together):
        # Nobody answers gRPC here, and the other functions are this very process.
        os.environ.setdefault("USERS_CALLS", "http")
        os.environ.setdefault("USERS_GET_URL", own_url(os.environ))
    logs.configure(app.name, os.environ.get("LOG_LEVEL", "info"))
    # hypercorn's own lines tell the process.
    logging.logProcesses = True
    app.state.process_started = time.time()
    return Function(app)


def require_usable(app: Served, environ: Mapping[str, str]) -> None:
    """Refuse an environment in which requests could only fail, before anything listens; raises ValueError."""
    literal = sorted(name for name, value in environ.items() if value.startswith(_REFERENCE))
    if literal:
        raise ValueError(
            f"{', '.join(literal)}: func run reads no Secrets or ConfigMaps; "
            f"give the value with --env {literal[0]}=… (each has its own --env)"
        )
    if isinstance(app, Together):
        app.require(environ)


def own_url(environ: Mapping[str, str]) -> str:
    """Where this process listens, as it can reach itself (LISTEN_ADDRESS, func-python 0.8.1)."""
    first = environ.get("LISTEN_ADDRESS", "").partition(",")[0]
    return f"http://127.0.0.1:{first.rpartition(':')[2] or '8080'}"


class Function:
    """An app, with the hooks that func-python calls."""

    def __init__(self, app: Served) -> None:
        self.app = app
        self._living: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._stop = asyncio.Event()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, once the app is started."""
        try:
            await asyncio.shield(self._start())
        except Exception:  # noqa: BLE001 - it is told already, and its words are not for callers.
            detail = "This did not start: try again later."
            await problems.problem(503, "Service Unavailable", detail)(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except Exception:  # noqa: BLE001 - as uvicorn does.
            # It was answered 500 before it was raised; func-python would answer once more.
            _log.exception("failed")

    def start(self, _: Mapping[str, str]) -> None:
        """Start the app; func-python 0.8.1 awaits nothing here, so that it goes on by itself."""
        self._start()

    def _start(self) -> asyncio.Future[None]:
        if self._started is None:
            loop = asyncio.get_running_loop()
            self._started = loop.create_future()
            self._living = loop.create_task(self._live(self._started))
        return self._started

    async def _live(self, started: asyncio.Future[None]) -> None:
        """From start to end in one task, as an ASGI server has it."""
        try:
            async with together.lifespan_of(self.app):
                started.set_result(None)
                with contextlib.suppress(asyncio.CancelledError):
                    await self._stop.wait()
        except Exception as error:
            if started.done():
                raise
            _log.error("start_failed", extra={"reason": str(error)})
            started.set_exception(error)

    def stop(self) -> None:
        """Close what was opened; it is awaited as little as `start`."""
        self._stop.set()

    def alive(self) -> tuple[bool, str]:
        """Whether it started, or may yet. Anybody may ask, so what was wrong with which setting is in the log alone."""
        failed = self._failure()
        return failed is None, "alive" if failed is None else "start failed: the log says why"

    def ready(self) -> tuple[bool, str]:
        """Whether the app is started, and not stopping."""
        started = self._started is not None and self._started.done() and self._failure() is None
        return started and not self._stop.is_set(), "ready" if started else "not started"

    def _failure(self) -> BaseException | None:
        return self._started.exception() if self._started is not None and self._started.done() else None
