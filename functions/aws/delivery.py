"""Gives events to a function's app as a Broker does, over no network: POST /, through the same gate and handlers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Scope
from starlette.types import Message as AsgiMessage

from eventing.event import STRUCTURED
from functions import deadlines
from functions.aws.messages import Message

_log = logging.getLogger("functions")


class NotHandled(Exception):
    """An event that has to come again, or, if it has often enough, to be put aside: that is for its carrier to do."""


@dataclass(frozen=True)
class Outcome:
    """What the app answered. An event that it refused for ever is recorded as such, and so handled (204)."""

    message: Message
    status: int
    reason: str

    @property
    def handled(self) -> bool:
        """Whether it need not come again."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


async def deliver_all(app: ASGIApp, messages: Sequence[Message], seconds: float) -> list[Outcome]:
    """Deliver a batch within so many seconds; messages of one group in their order, and none behind one that failed."""
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.group or f"\0{message.id}", []).append(message)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    done = await asyncio.gather(*(_deliver_group(app, group, end) for group in groups.values()))
    return [outcome for group in done for outcome in group]


async def _deliver_group(app: ASGIApp, messages: Iterable[Message], end: float) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for message in messages:
        if outcomes and not outcomes[-1].handled:
            outcomes.append(Outcome(message, 0, "one before it in its group failed"))
        else:
            outcomes.append(await deliver(app, message, end - asyncio.get_running_loop().time()))
    return outcomes


async def deliver(app: ASGIApp, message: Message, seconds: float) -> Outcome:
    """Deliver one event within so many seconds, and say what became of it."""
    status, content = 0, bytearray()

    async def receive() -> AsgiMessage:
        return {"type": "http.request", "body": message.body, "more_body": False}

    async def send(sent: AsgiMessage) -> None:
        nonlocal status
        status = sent.get("status", status)
        content.extend(sent.get("body", b""))

    try:
        await app(_scope(message, seconds), receive, send)
    except Exception as error:  # noqa: BLE001 - whatever it was, the event comes again.
        # It was answered 500 before it was raised, so that whoever serves the app can log it; here, that is us.
        _log.exception("failed")
        return Outcome(message, status or 500, type(error).__name__)
    outcome = Outcome(message, status, _reason(bytes(content)))
    if not outcome.handled:
        _log.warning("event_not_handled", extra={"message_id": message.id, "status": status, "reason": outcome.reason})
    return outcome


def _scope(message: Message, seconds: float) -> Scope:
    milliseconds = str(max(1, int(seconds * 1000))).encode()
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"content-type", STRUCTURED.encode()),
            (b"content-length", str(len(message.body)).encode()),
            (b"x-request-id", message.id.encode()),
            (deadlines.OF_GATEWAY, milliseconds),
        ],
        "client": None,
        "server": None,
    }


def _reason(content: bytes) -> str:
    """The detail of a problem document."""
    try:
        return str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        return ""
