"""One Lambda execution environment: a function's app, started once, and every invocation that it is given.

Between invocations the process is frozen: nothing runs on, so that all of a call, its events included, is done before
its answer is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from mangum.types import LambdaContext

from functions import logs
from functions.aws import delivery, http, messages
from functions.aws.delivery import NotHandled
from functions.together import Served, databases_of, lifespan_of, served

# What it takes to answer that the time is over, rather than to be cut off.
_ANSWER_SECONDS = 0.5
# Of that, what rolling back may take.
_SETTLE_SECONDS = 0.3


class Environment:
    """An app that has been started, on an event loop of its own."""

    def __init__(self, app: Served, environ: Mapping[str, str]) -> None:
        """Start it: this is Lambda's init phase.

        Raises:
            KnownSecret: as every function does.
        """
        app.state.process_started = time.time()
        self._app = app
        self._loop = asyncio.new_event_loop()
        # Mangum takes the current one.
        asyncio.set_event_loop(self._loop)
        self._lifespan = lifespan_of(app)
        self._loop.run_until_complete(self._lifespan.__aenter__())
        self._http = http.gateway(app, seconds_left, environ.get("API_BASE_PATH", ""))

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Environment:
        """The environment of what FUNCTION names.

        Raises:
            ValueError: it names nothing, or a function that answers gRPC.
        """
        app = served(environ.get("FUNCTION", ""))
        logs.configure(app.name, environ.get("LOG_LEVEL", "info"))
        return cls(app, environ)

    def handle(self, event: Any, context: LambdaContext) -> dict[str, Any] | None:
        """Answer one invocation.

        Raises:
            NotHandled: an event that has to come again; Lambda, and whoever called it, see to that.
            UnknownInvocation: it is none that is known.
        """
        kind = messages.kind_of(event)
        self._loop.run_until_complete(_thawed())
        try:
            return self._answer(kind, event, context)
        finally:
            self._loop.run_until_complete(self._settled())

    def _answer(self, kind: messages.Kind, event: Any, context: LambdaContext) -> dict[str, Any] | None:
        if kind == "http":
            return dict(self._http(event, context))
        if kind == "sqs":
            outcomes = self._deliver(messages.of_sqs(event), context)
            # Lambda's "partial batch response": only these come again.
            failed = [{"itemIdentifier": one.message.id} for one in outcomes if not one.handled]
            return {"batchItemFailures": failed}
        arrived = messages.of_sns(event) if kind == "sns" else [messages.of_event(event)]
        for outcome in self._deliver(arrived, context):
            if not outcome.handled:
                raise NotHandled(f"{self._app.name} answered {outcome.status}: {outcome.reason}")
        return None

    def _deliver(self, arrived: list[messages.Message], context: LambdaContext) -> list[delivery.Outcome]:
        return self._loop.run_until_complete(delivery.deliver_all(self._app, arrived, seconds_left(context)))

    async def _settled(self) -> None:
        """Roll back what the deadline cut short: frozen, this process would keep the locks of its transactions."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                for database in databases_of(self._app):
                    await database.settled()

    def close(self) -> None:
        """Stop the app. Lambda never asks for it: an environment that is not needed any more is taken away."""
        self._loop.run_until_complete(self._lifespan.__aexit__(None, None, None))
        self._loop.close()


def seconds_left(context: LambdaContext) -> float:
    """How long an invocation may work on."""
    return context.get_remaining_time_in_millis() / 1000 - _ANSWER_SECONDS


async def _thawed() -> None:
    """Let the loop see what happened while it was frozen: connections that were closed, timers that are due."""
    for _ in range(2):
        await asyncio.sleep(0)
