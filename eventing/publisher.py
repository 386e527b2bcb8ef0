"""Sends events to a sink: the URL that a SinkBinding put into K_SINK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from eventing.event import Event, to_binary
from eventing.httpclient import client

_TIMEOUT = httpx.Timeout(10.0, connect=2.0)


class PublishFailed(Exception):
    """The sink did not take the event, or it is not known whether it did; sending it again is safe."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class Publisher:
    """Posts events in binary mode over one pooled client, which is made when the first event goes out."""

    def __init__(self, sink: str, overrides: Mapping[str, str] | None = None) -> None:
        """*overrides* are extensions set on every event (K_CE_OVERRIDES).

        Raises:
            ValueError: the sink is no http(s) URL, or carries a user and password.
        """
        where = urlsplit(sink)
        if where.scheme not in {"http", "https"} or not where.hostname or where.username is not None:
            raise ValueError(f"K_SINK has to be an http(s) URL without user and password, not {sink!r}")
        self._sink = sink
        self._secure = where.scheme == "https"
        self._overrides = dict(overrides or {})
        self._client: httpx.AsyncClient | None = None

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
        """Return once the sink answered 2xx, which a Broker does when the event is stored.

        Raises:
            PublishFailed: anything else happened.
        """
        if self._client is None:
            self._client = client(secure=self._secure, timeout=_TIMEOUT)
        headers, body = to_binary(event.with_extensions(**self._overrides))
        try:
            answer = await self._client.post(self._sink, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise PublishFailed(f"{self._sink}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise PublishFailed(
                f"{self._sink} answered {answer.status_code}: {answer.text[:200]}",
                _seconds(answer.headers.get("retry-after")),
            )

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None
