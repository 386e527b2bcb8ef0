"""The ingress: takes events over HTTP at /NAMESPACE/BROKER or /NAMESPACE/channels/CHANNEL; 202 when they are stored.

Answers as Knative's does (pkg/broker/ingress/ingress_handler.go): 400 no event, 404 no such Broker, 405 other methods;
and 503 with Retry-After while the channel does not store.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from eventing.channels.channel import Channel, ChannelFull, ChannelUnavailable
from eventing.dispatcher import TTL, TTL_MAX
from eventing.event import Event, rfc3339
from eventing.exposition import CONTENT_TYPE
from eventing.gate import NotAnEvent, receive
from eventing.journal import Journal

_BODY_BYTES_MAX = 1024 * 1024
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Ingress:
    """An ASGI application. `channels` may be replaced while it serves."""

    def __init__(self, journal: Journal) -> None:
        self.channels: dict[str, Channel] = {}
        #: Events that were not stored since the process began: by Broker, and by why (full, or away).
        self.unstored: Counter[tuple[str, str]] = Counter()
        self.measure: Callable[[], Awaitable[str]] | None = None
        self._journal = journal

    async def __call__(self, scope: MutableMapping[str, Any], receive_message: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path in {"/health/liveness", "/health/readiness"}:
            await _answer(send, 200)
        elif path == "/metrics" and self.measure is not None:
            await self._show_metrics(scope["headers"], send)
        elif path == "/":
            await _answer(send, 404, "a Broker's ingress is at /NAMESPACE/BROKER")
        elif path.count("/") != 2 + ("/channels/" in path):
            await _answer(send, 400, "a Broker's ingress is at /NAMESPACE/BROKER")
        elif (broker := path[1:]) not in self.channels:
            await _answer(send, 404, f"there is no Broker {broker}")
        elif method == "OPTIONS":
            await _answer(
                send,
                200,
                headers={"allow": "POST, OPTIONS", "webhook-allowed-origin": "*", "webhook-allowed-rate": "*"},
            )
        elif method != "POST":
            await _answer(send, 405, "events are posted", headers={"allow": "POST, OPTIONS"})
        else:
            await self._take(broker, scope["headers"], receive_message, send)

    async def _show_metrics(self, headers: Iterable[tuple[bytes, bytes]], send: Send) -> None:
        """To whoever asks the process itself; what came through a gateway is from outside."""
        if self.measure is None or any(name == b"x-forwarded-for" for name, _ in headers):
            await _answer(send, 404)
            return
        content = (await self.measure()).encode()
        lines = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        await send({"type": "http.response.body", "body": content})

    async def _take(
        self, broker: str, headers: Iterable[tuple[bytes, bytes]], receive_message: Receive, send: Send
    ) -> None:
        try:
            body = await _body(receive_message)
        except _CutOff:
            return
        if body is None:
            await _answer(send, 413, f"an event has at most {_BODY_BYTES_MAX} bytes")
            return
        try:
            event = receive(headers, body)
            if "/channels/" not in broker:
                event = _admitted(event)
        except NotAnEvent as error:
            await _answer(send, error.status, error.detail)
            return
        try:
            await self.channels[broker].publish(event)
        except ChannelUnavailable as error:
            self.unstored[broker, "full" if isinstance(error, ChannelFull) else "away"] += 1
            after = {"retry-after": f"{error.retry_after_seconds:.0f}"}
            await _answer(send, 503, f"the event was not stored: {error}", headers=after)
            return
        self._journal.write("accepted", broker, event)
        await _answer(send, 202)


def _admitted(event: Event) -> Event:
    """The event with its arrival time and one hop fewer to go.

    Raises:
        NotAnEvent: it has gone round too often.
    """
    sent = event.extensions.get(TTL)
    ttl = TTL_MAX
    if sent is not None:
        # Whoever sends an event cannot have it go round more often than one that came without.
        ttl = min(TTL_MAX, int(sent) - 1) if sent.isascii() and sent.isdigit() else 0
        if ttl <= 0:
            raise NotAnEvent("the event has gone round too often (knativebrokerttl)")
    return event.with_extensions(**{TTL: str(ttl), "knativearrivaltime": rfc3339(datetime.now(UTC))})


class _CutOff(Exception):
    """Whoever sent the event was gone before all of it was here."""


async def _body(receive_message: Receive) -> bytes | None:
    """The whole body; None when it is too long.

    Raises:
        _CutOff: it did not come to its end. What came is no event: it would be stored under the id of the whole one,
            which then comes again and is taken for a repetition.
    """
    body = bytearray()
    while True:
        message = await receive_message()
        if message["type"] == "http.disconnect":
            raise _CutOff
        body += message.get("body", b"")
        if len(body) > _BODY_BYTES_MAX:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _answer(send: Send, status: int, detail: str = "", headers: dict[str, str] | None = None) -> None:
    content = b""
    lines = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    if detail:
        content = json.dumps({"type": "about:blank", "status": status, "detail": detail}).encode()
        lines.append((b"content-type", b"application/problem+json"))
    lines.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": content})
