"""Sends an event to one Trigger's subscriber, past the Broker: what redriving a dead letter and replaying need.

Only subscribers of the Triggers in TRIGGERS are ever called (the ConfigMap `triggers`, generated from the YAML), by the
URL that stands there. A destination that came with an event only chooses among them: whoever can send an event could
otherwise have us call anything in the cluster.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from eventing import strictjson
from eventing.dispatcher import judge
from eventing.event import Event, to_binary, to_json
from eventing.filters import Matches, compile_filters
from eventing.httpclient import client
from functions.app import REFUSED_HEADER
from functions.dryrun import MEDIA_TYPE

# A card processor that stays silent is waited for five seconds, twice.
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_ANSWER_BYTES_MAX = 256 * 1024
_REASON_MAX = 500


@dataclass(frozen=True)
class Trigger:
    """A Trigger that is known: which events it wants, and who gets them."""

    name: str
    subscriber: str
    matches: Matches


@dataclass(frozen=True)
class Delivery:
    """What a subscriber did with an event: `handled`, `refused` (never) or `failed` (not now)."""

    outcome: str
    code: str | None
    reason: str | None


def known(text: str) -> tuple[Trigger, ...]:
    """The Triggers of the setting: a JSON array of name, subscriber and spec.

    Raises:
        ValueError: it is none, or a Trigger's filter is not one.
    """
    return tuple(Trigger(one["name"], one["subscriber"], compile_filters(one["spec"])) for one in json.loads(text))


def of_destination(destination: str, triggers: Sequence[Trigger]) -> str | None:
    """The known subscriber that a destination means: its URL, or the name of the function alone; None where none is."""
    wanted = _normal(destination)
    for one in triggers:
        if wanted == _normal(one.subscriber) or (destination and destination == function_of(one.subscriber)):
            return one.subscriber
    return None


def function_of(destination: str) -> str:
    """The Service's name in a cluster-local URL."""
    try:
        return (urlsplit(destination).hostname or "").partition(".")[0]
    except ValueError:
        return ""


def _normal(url: str) -> str:
    """A URL as it can be compared; nothing that is no plain http(s) URL is equal to anything."""
    try:
        where = urlsplit(url)
        port = where.port
    except ValueError:
        return "\0"
    if where.scheme not in {"http", "https"} or where.username is not None or where.query or where.fragment:
        return "\0"
    shown = "" if port in {None, 80, 443} else f":{port}"
    return f"{(where.hostname or '').rstrip('.')}{shown}{where.path.rstrip('/')}"


class Subscribers:
    """The known Triggers, and a client to reach their subscribers."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self.triggers = tuple(triggers)
        secure = any(one.subscriber.startswith("https:") for one in triggers)
        self._client = client(secure=secure, timeout=_TIMEOUT)

    async def deliver(self, url: str, event: Event) -> Delivery:
        """Give the event to a subscriber as a Broker does, once."""
        headers, body = to_binary(event)
        try:
            status, answered, content = await self._post(url, headers, body)
        except httpx.HTTPError as error:
            return Delivery("failed", None, str(error) or type(error).__name__)
        if (refused := answered.get(REFUSED_HEADER)) is not None:
            return Delivery("refused", str(status), unquote(refused)[:_REASON_MAX])
        # A reply event would have no way back into the Broker: no function of ours replies.
        outcome, _ = judge(status, answered, content)
        if outcome.delivered:
            return Delivery("handled", str(status), None)
        return Delivery("failed", str(outcome.status), outcome.reason[:_REASON_MAX])

    async def rehearse(self, url: str, event: Event) -> Mapping[str, Any]:
        """Ask a subscriber what it would do with the event; `would` is `unknown` where it does not say."""
        try:
            status, _, content = await self._post(url, {"content-type": MEDIA_TYPE}, to_json(event, exact=True))
            said = strictjson.parse(content, depth_max=70) if status == 200 else None
        except (httpx.HTTPError, strictjson.InvalidJson) as error:
            return {"would": "unknown", "reason": str(error) or type(error).__name__, "records": []}
        if isinstance(said, dict) and {"would", "records"} <= said.keys():
            return said
        answer = " ".join(content[:_REASON_MAX].decode(errors="replace").split())
        return {"would": "unknown", "reason": f"it answered {status} to a dry run: {answer}", "records": []}

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self._client.stream("POST", url, content=body, headers=headers) as answer:
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _ANSWER_BYTES_MAX:
                    break
            return answer.status_code, answer.headers, bytes(content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Subscribers]:
    """Those that TRIGGERS names.

    Raises:
        ValueError: it is not as it should be.
    """
    made = Subscribers(known(os.environ.get("TRIGGERS", "[]")))
    try:
        yield made
    finally:
        await made.close()
