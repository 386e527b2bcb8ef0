"""Makes the FastAPI app of one operation: what every function does the same way is done here, once.

Around each call: an id that it is known by, whether it found the process cold or warm, one line of log, and after the
answer the publishing of the events that its transactions recorded. Nothing happens at import: the environment is read
and resources are made when the app starts, and closed in reverse.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from eventing import inbox, outbox, strictjson
from eventing.event import Event, to_json
from eventing.exposition import CONTENT_TYPE
from eventing.gate import NotAnEvent, from_json, receive
from eventing.inbox import EventReused
from functions import arrival, correlation, deadlines, dryrun, problems
from functions.bodies import field_errors
from functions.correlation import Call
from functions.database import Database
from functions.deadlines import DeadlineSettings
from functions.errors import BadRequest, NotFound, Rejected
from functions.events import REFUSED
from functions.hangup import CallerGone, until_hangup
from functions.lifespan import Resource, is_migrated, lifespan, name_of, publish
from functions.metrics import Metrics
from functions.migrated import of_area
from functions.payload import Payload

_log = logging.getLogger("functions")
BODY_BYTES_MAX = 64 * 1024
# The Broker takes events up to a mebibyte.
EVENT_BYTES_MAX = 1024 * 1024
_JSON_DEPTH_MAX = 64
# Percent-encoded, the reason for which an event that was answered 204 is refused for ever.
REFUSED_HEADER = "wake-refused"
_REFUSED_MAX = 300

EventHandler = Callable[[Any, Event, Database], Awaitable[None]]
AnyEventHandler = Callable[[Event, Database], Awaitable[None]]


def operation(module: str, *, body_bytes_max: int = BODY_BYTES_MAX, database: str | None = None) -> Operation:
    """The app of the operation that this module is: `functions.orders.place` is `orders-place`.

    *database* is which of `migrated.FOLDERS` DATABASE_URL leads to, where it is not the area's own.
    """
    return Operation(*name_of(module), body_bytes_max, database)


class Operation(FastAPI):
    """One operation's app. `state.database` is its area's database, where it has one."""

    def __init__(self, area: str, name: str, body_bytes_max: int, database: str | None = None) -> None:
        super().__init__(
            title=name,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            max_body_size=body_bytes_max,
            lifespan=lifespan,
        )
        self.state = dryrun.State()
        self.area = area
        self.name = name
        self.database = database or of_area(area)
        self.metrics = Metrics(name)
        self.state.started = False
        self.state.databases = ()
        self.state.process_started = None
        self.state.deadlines = DeadlineSettings()
        self._payloads: dict[str, tuple[type[Payload], EventHandler]] = {}
        self._any_event: AnyEventHandler | None = None
        self.resources: dict[str, Resource] = {}
        problems.install(self)
        self.add_api_route("/health/liveness", self._live, include_in_schema=False)
        self.add_api_route("/health/readiness", self._ready, include_in_schema=False)
        self.add_api_route("/metrics", self._show_metrics, include_in_schema=False)

    async def _live(self) -> Response:
        return Response(status_code=200)

    async def _ready(self) -> Response:
        """Ready is: started, not stopping, and no database says that it lacks a migration.

        Not: the database answers, or its outage would have every request held until it times out instead of answered.
        """
        ready = self.state.started and await is_migrated(self)
        return Response(status_code=200 if ready else 503)

    async def _show_metrics(self, request: Request) -> Response:
        """To whoever asks the process itself, as Prometheus does; what came through a gateway is from outside."""
        if "x-forwarded-for" in request.headers:
            raise NotFound
        return Response(await self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    def opens(self, name: str, resource: Resource) -> None:
        """Enter this when the app starts, as `app.state.NAME`, and leave it when it stops."""
        self.resources[name] = resource

    def on(self, *payloads: type[Payload]) -> Callable[[EventHandler], EventHandler]:
        """Register the handler of these events: `async def confirm(captured, event, database)`."""

        def register(handler: EventHandler) -> EventHandler:
            if not self._payloads:
                self.add_api_route("/", self._take_event, methods=["POST"], include_in_schema=False)
            self._payloads |= {payload.TYPE: (payload, handler) for payload in payloads}
            return handler

        return register

    def on_any_event(self, handler: AnyEventHandler) -> AnyEventHandler:
        """Register the handler of every event, whatever its type."""
        self.add_api_route("/", self._take_event, methods=["POST"], include_in_schema=False)
        self._any_event = handler
        return handler

    async def _take_event(self, request: Request) -> Response:
        """Answer an event with 204, always empty: behind a Knative Broker any other body is a failed delivery.

        Whoever sends an event here without a Broker reads in REFUSED_HEADER why it can never be handled.
        """
        dry = dryrun.is_asked(request.headers.get("content-type"))
        try:
            body = await request.body()
            event = from_json(body) if dry else receive(request.scope["headers"], body)
        except NotAnEvent as error:
            return problems.problem(error.status, "Not a CloudEvent", error.detail)
        call = correlation.current()
        call.cause = correlation.caused_by(event)
        call.log |= {"event_id": event.id, "event_type": event.type, "subject": event.subject}
        if dry:
            return await dryrun.answer(self.name, self._handle, event, self.state.database, self.resources)
        try:
            await self._handle(event)
        except (Rejected, EventReused) as error:
            await self._refuse(event, str(error))
            return Response(status_code=204, headers={REFUSED_HEADER: quote(str(error)[:_REFUSED_MAX])})
        return Response(status_code=204)

    async def _handle(self, event: Event) -> None:
        if self._any_event is not None:
            await self._any_event(event, self.state.database)
            return
        if event.type not in self._payloads:
            raise Rejected(f"{self.name} does not know events of type {event.type}")
        payload, handler = self._payloads[event.type]
        await handler(_payload(payload, event), event, self.state.database)

    async def _refuse(self, event: Event, reason: str) -> None:
        """Record that this event can never be handled here. An error would have it retried, or dropped in silence."""
        _log.warning("event_refused", extra={"event_id": event.id, "reason": reason})
        refused = REFUSED[self.area](
            event_id=event.id,
            event=strictjson.parse(to_json(event, exact=True), depth_max=_JSON_DEPTH_MAX),
            reason=reason,
            function=self.name,
        )
        async with self.state.database.transaction() as transaction:
            with contextlib.suppress(EventReused):
                if not await inbox.first_time(transaction, f"{self.name}/refused", event):
                    return
            await outbox.add(transaction, refused.to_event())

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the bodies that our own parser reads."""
        document = super().openapi()
        for route in self.routes:
            for dependency in getattr(getattr(route, "dependant", None), "dependencies", ()):
                model = getattr(dependency.call, "model", None)
                if model is not None and isinstance(route, APIRoute) and route.path_format in document["paths"]:
                    content = {"application/json": {"schema": model.model_json_schema()}}
                    for method in route.methods or ():
                        operation = document["paths"][route.path_format][method.lower()]
                        operation["requestBody"] = {"required": True, "content": content}
        return document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or go through the lifespan. HEAD is GET without the body (RFC 9110, section 9.3.2)."""
        if scope["type"] != "http" or scope["path"] == "/metrics" or scope["path"].startswith("/health/"):
            await super().__call__(scope, receive, send)
            return
        arrived = time.monotonic()
        call = arrival.begin(scope)
        cold = self.state.process_started
        self.state.process_started = None

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.log["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), *arrival.headers(call, cold)]
            elif scope["method"] == "HEAD":
                message["body"] = b""
            await send(message)

        try:
            arrival.require_once(scope)
            call.deadline = arrived + deadlines.seconds_of(scope["headers"], self.state.deadlines)
            asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            async with until_hangup(scope, receive):
                await super().__call__(asked, receive, problems.for_body_limit(scope, receive, answer))
        except BadRequest as error:
            await problems.of_refusal(error)(scope, receive, answer)
        except CallerGone:
            # As nginx has it; there is no code for an answer that nobody gets.
            call.log["status"] = 499
        finally:
            self._note(scope, call, time.monotonic() - arrived, cold)
            await publish(self, call)

    def _note(self, scope: Scope, call: Call, seconds: float, cold: float | None) -> None:
        status, found = call.log.get("status", 500), call.log.get("cache")
        self.metrics.note(scope["method"], status, seconds, cold=cold is not None, cache=found)
        fields = {
            # Of several in one process.
            "function": self.name,
            "method": scope["method"],
            "path": scope["path"],
            "duration_ms": round(seconds * 1000, 1),
            "start": "warm" if cold is None else "cold",
            "correlation_id": call.cause.correlation_id,
            **call.log,
        }
        _log.info("request", extra=fields)


def _payload(kind: type[Payload], event: Event) -> Payload:
    """The event's data as its payload class.

    Raises:
        Rejected: it is not; with the fields.
    """
    try:
        return kind.model_validate(strictjson.parse(event.data, depth_max=_JSON_DEPTH_MAX))
    except strictjson.InvalidJson as error:
        raise Rejected(f"the data of {event.type}: {error}") from error
    except ValidationError as error:
        wrong = ", ".join(f"{one.field}: {one.message}" for one in field_errors(error))
        raise Rejected(f"the data of {event.type} is not valid: {wrong}") from error
