"""The doors of events: an order is confirmed by an event, over HTTP, out of a queue, by func-python and by Lambda."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx

from eventing.event import Event, to_binary, to_json, to_structured
from tests.functions.aws.runtime_api import FunctionError, Lambda, sample

# handled: it need not come again, whether it was obeyed or is refused for ever. again: it has to. no event: it is told
# that it is none, and does not come again.
Verdict = Literal["handled", "again", "no event"]


@dataclass(frozen=True)
class Features:
    """How a door differs from the others: the sheet that the suite goes by."""

    #: What becomes of what is no event. A queue has no way to say no: there it ends, tried often enough, as a letter.
    no_event: Verdict = "no event"
    #: Whether what comes again under the same id is recognised before it is delivered (by a channel, for two minutes).
    recognises: bool = False


class Door(Protocol):
    """One way for events to come."""

    features: Features

    async def deliver(self, event: Event) -> Verdict:
        """Deliver one event."""

    async def deliver_again(self, event: Event) -> Verdict:
        """Have it come once more, as it does after it failed."""

    async def deliver_raw(self, body: bytes) -> Verdict:
        """Deliver something in the place of a structured event."""


class OverHttp:
    """A server that speaks HTTP, as a Broker calls it."""

    features = Features()

    def __init__(self, url: str, write: Callable[[Event], tuple[dict[str, str], bytes]]) -> None:
        """*write* is how an event is written: binary or structured."""
        self._url, self._write = url, write

    async def deliver(self, event: Event) -> Verdict:
        """POST it."""
        headers, body = self._write(event)
        return await self._post(headers, body)

    deliver_again = deliver

    async def deliver_raw(self, body: bytes) -> Verdict:
        """In binary mode it is no event for want of what names it."""
        headers, _ = self._write(Event(id="1", source="/x", type="x"))
        headers.pop("ce-id", None)
        return await self._post(headers, body)

    async def _post(self, headers: dict[str, str], body: bytes) -> Verdict:
        async with httpx.AsyncClient(verify=False) as client:
            answer = await client.post(self._url, headers=headers, content=body)
        if answer.status_code == 204:
            # A Broker would take anything else for a reply.
            assert answer.content == b""
            return "handled"
        return "no event" if answer.status_code == 400 else "again"


class OverQueue:
    """Our Broker's process over a real server: its journal says what came of the first attempt, and of the next."""

    features = Features(recognises=True)

    def __init__(self, ingress: str, journal: Path) -> None:
        self._ingress, self._journal = ingress, journal
        self._published: set[str] = set()

    async def deliver(self, event: Event) -> Verdict:
        """Publish it, and wait for its delivery, if there will be one."""
        lines = len(self._lines())
        headers, body = to_binary(event)
        async with httpx.AsyncClient(verify=False) as client:
            answer = await client.post(self._ingress, headers=headers, content=body)
        assert answer.status_code == 202, answer.text
        if self.features.recognises and event.id in self._published:
            return "handled"
        self._published.add(event.id)
        return await self._noted(event, lines, {"delivered": "handled", "failed": "again"})

    async def deliver_again(self, event: Event) -> Verdict:
        """Wait: the queue does it, as often as it takes."""
        return await self._noted(event, 0, {"delivered": "handled"})

    async def _noted(self, event: Event, lines: int, wanted: Mapping[str, Verdict]) -> Verdict:
        """The first of these that the journal, from this line on, says of the event."""
        async with asyncio.timeout(20):
            while True:
                for line in self._lines()[lines:]:
                    if line["id"] == event.id and line["kind"] in wanted:
                        return wanted[line["kind"]]
                await asyncio.sleep(0.005)

    async def deliver_raw(self, body: bytes) -> Verdict:
        """It does not come as far as the queue."""
        headers, _ = to_structured(Event(id="1", source="/x", type="x"))
        async with httpx.AsyncClient(verify=False) as client:
            answer = await client.post(self._ingress, headers=headers, content=body)
        assert answer.status_code == 400
        return "no event"

    def _lines(self) -> Sequence[dict[str, Any]]:
        if not self._journal.exists():
            return []
        # The last one may be half written.
        return [json.loads(line) for line in self._journal.read_text().splitlines(keepends=True) if line[-1] == "\n"]


class OverLambda:
    """Lambda, called by EventBridge, SQS, SNS, or a schedule."""

    features = Features(no_event="again")

    def __init__(self, carrier: str, function: Lambda) -> None:
        self._carrier, self._function = carrier, function

    async def deliver(self, event: Event) -> Verdict:
        """In the carrier's envelope."""
        return await self.deliver_raw(to_json(event))

    deliver_again = deliver

    async def deliver_raw(self, body: bytes) -> Verdict:
        """The same, of anything."""
        text = body.decode()
        if self._carrier == "sqs":
            return self._queued(text)
        try:
            event = sample("sns", event=text) if self._carrier == "sns" else self._enveloped(text)
            assert self._function.invoke(event) is None
        except FunctionError as error:
            assert error.error["errorType"] == "NotHandled"
            return "again"
        return "handled"

    def _queued(self, body: str) -> Verdict:
        failed = self._function.invoke({"Records": [sample("sqs_record", id="1", event=body)]})["batchItemFailures"]
        assert failed in ([], [{"itemIdentifier": "1"}])
        return "again" if failed else "handled"

    @staticmethod
    def _enveloped(text: str) -> Any:
        """What has all that an event needs in its envelope is one, whatever the detail: so it is taken from that."""
        try:
            detail = json.loads(text)
        except ValueError:
            detail = text
        whole = isinstance(detail, dict) and "specversion" in detail
        return {**sample("eventbridge", event=detail), **({} if whole else {"source": ""})}
