"""Delivers a Broker's events to its Triggers' subscribers, and to their dead letter sinks what cannot be delivered."""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from eventing import strictjson
from eventing.attempts import ATTEMPTS, Attempt, Histories, encode
from eventing.channels.channel import Again, Backlog, Channel, ChannelUnavailable, Delivery, Done, Subscription
from eventing.delivery import (
    DeadLetter,
    Delivered,
    GivenUp,
    Outcome,
    RetryIn,
    back_off_seconds,
    next_step,
    whole_seconds,
)
from eventing.event import Event, to_binary, to_structured
from eventing.gate import NotAnEvent, receive
from eventing.http1 import NoAnswer
from eventing.journal import Journal
from eventing.poster import Poster
from eventing.trigger import Trigger

TTL = "knativebrokerttl"
TTL_MAX = 255
_ERROR_DATA_BYTES_MAX = 1024
# A dead letter sink that is away is tried for ever, but not more often than this.
_DEAD_LETTER_DELAY_SECONDS_MAX = 60.0


class Dispatcher:
    """One Trigger's deliveries."""

    def __init__(self, trigger: Trigger, channel: Channel, poster: Poster, journal: Journal) -> None:
        self.trigger = trigger
        self._channel = channel
        self._poster = poster
        self._journal = journal
        self._subscription: Subscription | None = None
        self._histories = Histories()

    async def open(self) -> None:
        """Begin; raises ChannelUnavailable."""
        self._subscription = await self._channel.subscribe(
            self.trigger.key, self.trigger.event_type, self.dispatch, ordered=self.trigger.ordered
        )

    async def close(self) -> None:
        """Take no more, finish what is in hand."""
        if self._subscription is not None:
            await self._subscription.close()

    async def forget(self) -> None:
        """Take no more, and give up the place in the channel with what waits there; raises ChannelUnavailable."""
        await self.close()
        await self._channel.forget(self.trigger.key)

    async def backlog(self) -> Backlog:
        """What waits for the subscriber; raises ChannelUnavailable."""
        return await self._channel.backlog(self.trigger.key)

    async def dispatch(self, delivery: Delivery) -> Done | Again:
        """One attempt, and what follows from it. An event that is given up is only noted."""
        event, attempt = delivery.event, delivery.attempt
        if not self.trigger.matches(event.attributes):
            return Done()
        began = time.monotonic()
        outcome = await self._attempt(event)
        step = next_step(outcome, attempt, self.trigger.delivery)
        if not isinstance(step, Delivered):
            self._histories.note(event, attempt, outcome.status, outcome.reason)
        self._note(
            "delivered" if isinstance(step, Delivered) else "failed",
            event,
            attempt=attempt,
            status=outcome.status or None,
            duration_ms=round((time.monotonic() - began) * 1000, 1),
            reason=outcome.reason or None,
            retry_in_seconds=step.seconds if isinstance(step, RetryIn) else None,
        )
        if isinstance(step, RetryIn):
            return Again(step.seconds)
        settled = await self._settle(step, event, outcome, attempt)
        if isinstance(settled, Done):
            self._histories.forget(event)
        return settled

    async def _settle(
        self, step: Delivered | GivenUp | DeadLetter, event: Event, outcome: Outcome, attempt: int
    ) -> Done | Again:
        if isinstance(step, Delivered):
            return Done()
        if isinstance(step, GivenUp):
            rules = self.trigger.delivery.rules.name
            self._note("dropped", event, attempt=attempt, reason=f"by the rules of {rules} it is not tried again")
            return Done()
        return await self._dead_letter(event, outcome, attempt)

    async def _attempt(self, event: Event) -> Outcome:
        """Deliver once; a reply event goes back into the Broker before the delivery counts."""
        if self.trigger.of_channel:
            return await self._attempt_of_channel(event)
        outcome, reply = await self._post(str(self.trigger.subscriber), event)
        if reply is None:
            return outcome
        ttl = int(event.extensions.get(TTL, TTL_MAX)) - 1
        if ttl <= 0:
            return Outcome(outcome.status, "the reply was dropped: it has gone round too often")
        try:
            await self._channel.publish(reply.with_extensions(**{TTL: str(ttl)}))
        except ChannelUnavailable as error:
            return Outcome(503, f"the reply could not be stored: {error}")
        self._journal.write("accepted", self.trigger.broker, reply, reason=f"reply of {self.trigger.name}")
        return outcome

    async def _attempt_of_channel(self, event: Event) -> Outcome:
        """Deliver once; a reply goes to the Subscription's `reply`, and its failure is the delivery's."""
        outcome, reply = Outcome(204), event
        if self.trigger.subscriber is not None:
            outcome, answered = await self._post(self.trigger.subscriber, event)
            if answered is None or not outcome.delivered:
                return outcome
            reply = answered
        if self.trigger.reply is not None:
            taken, _ = await self._post(self.trigger.reply, reply)
            return taken
        return outcome

    async def _post(self, url: str, event: Event) -> tuple[Outcome, Event | None]:
        headers, body = self._encoded(event)
        try:
            answer = await self._poster.post(url, headers, body, self.trigger.delivery.timeout_seconds)
        except NoAnswer as error:
            return Outcome(0, str(error)), None
        return judge(answer.status, answer.headers, answer.body, of_channel=self.trigger.of_channel)

    def _encoded(self, event: Event) -> tuple[dict[str, str], bytes]:
        """What is posted; a Broker's count of hops is its own."""
        if self.trigger.delivery.format == "json":
            headers, body = to_structured(event if self.trigger.of_channel else event.with_extensions(**{TTL: None}))
        else:
            headers, body = to_binary(event)
            if not self.trigger.of_channel:
                headers.pop(f"ce-{TTL}", None)
        headers["prefer"], headers["kn-namespace"] = "reply", self.trigger.namespace
        return headers, body

    async def _dead_letter(self, event: Event, outcome: Outcome, attempt: int) -> Done | Again:
        sink = self.trigger.delivery.dead_letter_sink
        if sink is None:
            self._note("dropped", event, attempt=attempt, reason="its Trigger has no dead letter sink")
            return Done()
        letter = dead_letter(
            event, outcome, self.trigger.subscriber or str(self.trigger.reply), self._histories.of(event)
        )
        answer, _ = await self._post(sink, letter.with_extensions(**{TTL: None}))
        if answer.delivered:
            self._note("dead-lettered", event, attempt=attempt, destination=sink)
            return Done()
        # What no sink has taken is not let go: the subscriber is tried once more with it, then the sink.
        delay = min(_DEAD_LETTER_DELAY_SECONDS_MAX, max(1.0, back_off_seconds(attempt, self.trigger.delivery)))
        reason = f"the dead letter sink: {answer.reason or answer.status}"
        self._note("failed", event, attempt=attempt, destination=sink, reason=reason, retry_in_seconds=delay)
        return Again(delay)

    def _note(self, kind: str, event: Event, **fields: object) -> None:
        self._journal.write(kind, self.trigger.broker, event, trigger=self.trigger.name, **fields)


def judge(
    status: int, headers: Mapping[str, str], body: bytes, *, of_channel: bool = False
) -> tuple[Outcome, Event | None]:
    """What a subscriber's answer means: an outcome, and the reply event if it is one.

    Behind a Knative Broker a 2xx whose body is not empty has to be an event; anything else has failed as if it were a
    502 (pkg/broker/filter/filter_handler.go). Behind a Channel such a body is thrown away.
    """
    if not 200 <= status < 300:
        return Outcome(status, _reason(status, body), body, whole_seconds(headers.get("retry-after")) or 0.0), None
    is_event = "ce-specversion" in headers or headers.get("content-type", "").startswith("application/cloudevents")
    if not is_event:
        if not body or of_channel:
            return Outcome(status), None
        return Outcome(502, f"it answered {status} with a body that is no event", body), None
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    try:
        return Outcome(status), receive(raw, body)
    except NotAnEvent as error:
        return Outcome(502, f"its reply is no valid event: {error.detail}", body), None


def dead_letter(event: Event, outcome: Outcome, destination: str, attempts: Sequence[Attempt] = ()) -> Event:
    """The event as the dead letter sink gets it: with where it failed, how, the start of the answer, every attempt.

    What the event itself says of these is overwritten: only a Broker knows.
    """
    return replace(event).with_extensions(
        knativeerrordest=destination,
        knativeerrorcode=str(outcome.status or 500),
        knativeerrordata=base64.b64encode(outcome.body[:_ERROR_DATA_BYTES_MAX]).decode() if outcome.body else None,
        **{ATTEMPTS: encode(attempts)},
    )


def _reason(status: int, body: bytes) -> str:
    """The answer in a line: of a problem document (RFC 9457) its detail."""
    try:
        problem = strictjson.parse(body, depth_max=8)
    except strictjson.InvalidJson:
        problem = None
    said = problem.get("detail") if isinstance(problem, dict) else None
    text = " ".join((said if isinstance(said, str) else body[:300].decode(errors="replace"))[:300].split())
    return text or http.client.responses.get(status, "")
