"""Puts events on an EventBridge bus: the sink `eventbridge://BUS` (K_SINK), for functions on Lambda.

The event is the `detail`, in the JSON event format, so that rules match its attributes (`detail.type`). Its data is
Base64 there: what EventBridge makes of JSON (the order of members, the digits of a number) is nowhere promised, and an
inbox takes other bytes for another event.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from eventing.event import Event, compact
from eventing.httpclient import client
from eventing.sigv4 import Credentials, signed

SCHEME = "eventbridge"
_REASON_MAX = 160
_TIMEOUT = httpx.Timeout(10.0, connect=2.0)


class NotPut(Exception):
    """The bus did not take the event, or it is not known whether it did."""


class Bus:
    """One bus of the region and account that the function is in."""

    def __init__(self, sink: str, environ: Mapping[str, str]) -> None:
        """AWS_ENDPOINT_URL_EVENTBRIDGE or AWS_ENDPOINT_URL name another endpoint, as for every AWS SDK.

        Raises:
            ValueError: the sink names no bus, or AWS_REGION no region.
        """
        where = urlsplit(sink)
        self._region = environ.get("AWS_REGION", "")
        if not where.netloc or where.path.strip("/") or where.query:
            raise ValueError(f"a bus is eventbridge://NAME, not {sink!r}")
        if not self._region:
            raise ValueError("AWS_REGION is not set: there is no region to look for the bus in")
        self._name, self._environ = where.netloc, environ
        given = environ.get("AWS_ENDPOINT_URL_EVENTBRIDGE") or environ.get("AWS_ENDPOINT_URL")
        self._url = (given or f"https://events.{self._region}.amazonaws.com").rstrip("/") + "/"
        self._client: httpx.AsyncClient | None = None

    async def put(self, event: Event) -> None:
        """Return once the bus has it; raises NotPut."""
        if self._client is None:
            self._client = client(secure=self._url.startswith("https:"), timeout=_TIMEOUT)
        body = compact({"Entries": [entry(event, self._name)]})
        try:
            answer = await self._client.post(self._url, content=body, headers=self._signed(body))
        except httpx.HTTPError as error:
            raise NotPut(f"{self._url}: {error or type(error).__name__}") from error
        refused = refusal(answer.status_code, answer.content)
        if refused is not None:
            raise NotPut(f"{self._url} answered {refused}")

    def _signed(self, body: bytes) -> dict[str, str]:
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AWSEvents.PutEvents"}
        try:
            credentials = Credentials.from_environment(self._environ)
        except KeyError as error:
            raise NotPut(f"{error.args[0]} is not set") from error
        host = urlsplit(self._url).netloc
        return signed(host, headers, body, credentials, region=self._region, service="events", now=datetime.now(UTC))

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def entry(event: Event, bus: str) -> dict[str, Any]:
    """What PutEvents takes."""
    members: dict[str, Any] = dict(event.attributes)
    if event.data:
        members["data_base64"] = base64.b64encode(event.data).decode()
    return {
        "EventBusName": bus,
        "Source": event.source,
        "DetailType": event.type,
        "Detail": compact(members).decode(),
        "Resources": [],
    }


def refusal(status: int, content: bytes) -> str | None:
    """Why the event was not taken, which 200 may say too (PutEvents, FailedEntryCount); None where it was."""
    try:
        answer = json.loads(content)
        failed = answer.get("FailedEntryCount", 0)
        first = (answer.get("Entries") or [{}])[0]
    except (ValueError, AttributeError):
        return f"{status}: {content[:_REASON_MAX].decode(errors='replace')}"
    if status == httpx.codes.OK and not failed and first.get("EventId"):
        return None
    code = first.get("ErrorCode") or str(answer.get("__type", "")).rpartition("#")[2]
    reason = first.get("ErrorMessage") or answer.get("message") or answer.get("Message") or ""
    # Of a signature that does not fit AWS repeats all that was signed, the session's token with it.
    return " ".join(filter(None, (str(status), code, str(reason)[:_REASON_MAX])))
