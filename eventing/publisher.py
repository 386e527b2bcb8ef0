"""Sends events to a sink: the URL that a SinkBinding put into K_SINK.

`http(s)://…` is posted to, as Knative has it. `nats://HOST?broker=NAMESPACE/NAME` and
`amqp(s)://HOST/VHOST?broker=NAMESPACE/NAME` go straight into the stream or exchange of the Broker of that name, which a
Broker process (`python -m eventing.broker`) over the same server delivers from. `eventbridge://BUS` puts them on
a bus of Amazon EventBridge.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from eventing.delivery import whole_seconds
from eventing.event import Event, to_binary
from eventing.httpclient import client

_TIMEOUT = httpx.Timeout(10.0, connect=2.0)


class PublishFailed(Exception):
    """The sink did not take the event, or it is not known whether it did; sending it again is safe."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class _Sink(Protocol):
    async def publish(self, event: Event) -> None:
        """Return once the event is stored; raises PublishFailed."""

    async def close(self) -> None:
        """Close the connections."""


class Publisher:
    """Sends events to one sink, over connections that are made when the first event goes out."""

    def __init__(self, sink: str, overrides: Mapping[str, str] | None = None) -> None:
        """*overrides* are extensions set on every event (K_CE_OVERRIDES).

        Raises:
            ValueError: the sink is no URL of one of these kinds, or an http(s) URL with a user and password.
        """
        self._sink = _sink_of(sink)
        self._overrides = dict(overrides or {})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Publisher | None:
        """The publisher of K_SINK and K_CE_OVERRIDES (Knative SinkBinding); None where there is no sink.

        Raises:
            ValueError: one of them is not what Knative would put there.
        """
        sink = environ.get("K_SINK", "")
        if not sink:
            return None
        overrides = environ.get("K_CE_OVERRIDES", "")
        return cls(sink, json.loads(overrides).get("extensions", {}) if overrides else {})

    async def publish(self, event: Event) -> None:
        """Return once the event is stored: the Broker answered 2xx, or the server acknowledged it.

        Raises:
            PublishFailed: anything else happened.
        """
        await self._sink.publish(event.with_extensions(**self._overrides) if self._overrides else event)

    async def close(self) -> None:
        """Close the connections."""
        await self._sink.close()


def _sink_of(sink: str) -> _Sink:
    scheme = urlsplit(sink).scheme
    if scheme in {"http", "https", ""}:
        return _Http(sink)
    return _EventBridge(sink) if scheme == "eventbridge" else _Channel(sink)


class _Http:
    """Posts events in binary mode over one pooled client."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        if where.scheme not in {"http", "https"} or not where.hostname or where.username is not None:
            raise ValueError(
                f"K_SINK has to be an http(s) URL without user and password, "
                f"or nats:…, amqp:… or eventbridge:…, not {url!r}"
            )
        self._url = url
        self._secure = where.scheme == "https"
        self._client: httpx.AsyncClient | None = None

    async def publish(self, event: Event) -> None:
        if self._client is None:
            self._client = client(secure=self._secure, timeout=_TIMEOUT)
        headers, body = to_binary(event)
        try:
            answer = await self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise PublishFailed(f"{self._url}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise PublishFailed(
                f"{self._url} answered {answer.status_code}: {answer.text[:200]}",
                whole_seconds(answer.headers.get("retry-after")),
            )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


class _EventBridge:
    """Puts events on a bus; imported only where there is such a sink."""

    def __init__(self, url: str) -> None:
        from eventing.eventbridge import Bus, NotPut  # noqa: PLC0415 - see the docstring.

        self._not_put = NotPut
        try:
            self._bus = Bus(url, os.environ)
        except ValueError as error:
            raise ValueError(f"K_SINK: {error}") from error

    async def publish(self, event: Event) -> None:
        try:
            await self._bus.put(event)
        except self._not_put as error:
            raise PublishFailed(str(error)) from error

    async def close(self) -> None:
        await self._bus.close()


class _Channel:
    """Publishes over a connection to a channel's server, whose library is imported only where there is such a sink."""

    def __init__(self, url: str) -> None:
        # See the docstring: a cold start must not pay for it.
        from eventing.channels.channel import ChannelUnavailable  # noqa: PLC0415
        from eventing.channels.sink import ChannelSink  # noqa: PLC0415

        self._unavailable = ChannelUnavailable
        try:
            self._sink = ChannelSink(url)
        except ValueError as error:
            raise ValueError(f"K_SINK: {error}") from error

    async def publish(self, event: Event) -> None:
        try:
            await self._sink.publish(event)
        except self._unavailable as error:
            raise PublishFailed(str(error), error.retry_after_seconds) from error

    async def close(self) -> None:
        await self._sink.close()
