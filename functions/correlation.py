"""What a call is part of: the thread from the first HTTP request to the last Trigger."""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eventing.event import Event

if TYPE_CHECKING:
    from functions.identity import Identity

# An id that a caller may give a request; and a trace's (W3C Trace Context, section 3.2).
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class Cause:
    """Why something happens now. `correlation_id` is that of the request which began it all, however many hops ago."""

    correlation_id: str = ""
    causation_id: str | None = None
    traceparent: str | None = None


@dataclass
class Call:
    """One call of a function: its cause, and the events that its committed transactions recorded.

    `deadline` is the time.monotonic() at which nobody waits for its answer any more; None outside a call.
    """

    cause: Cause = field(default_factory=Cause)
    recorded: list[Event] = field(default_factory=list)
    log: dict[str, Any] = field(default_factory=dict)
    deadline: float | None = None
    #: The access token that the call came with, for calls that are made on its behalf.
    token: str | None = None
    #: Whose token that is.
    identity: Identity | None = None


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current() -> Call:
    """The call that is being answered; outside one (a Job, a test) one of its own."""
    call = _current.get()
    if call is None:
        call = Call()
        _current.set(call)
    return call


def begin(call: Call) -> None:
    """From here on, in this task, this is the call."""
    _current.set(call)


def caused_by(event: Event) -> Cause:
    """The cause that an event is to what its handler does."""
    return Cause(
        correlation_id=event.extensions.get("correlationid", event.id),
        causation_id=event.id,
        traceparent=event.extensions.get("traceparent"),
    )
