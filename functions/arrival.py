"""A request as it comes in: the call that it begins, what it may not say twice, and what its answer says of it."""

from __future__ import annotations

import time

from starlette.types import Scope

from eventing.event import new_id
from functions import correlation, deadlines
from functions.correlation import REQUEST_ID, TRACEPARENT, Call, Cause
from functions.errors import BadRequest

# Sent twice, one of them would win here and perhaps the other elsewhere.
_ONLY_ONCE = frozenset({b"authorization", b"idempotency-key", b"content-type", b"if-match", deadlines.OF_CALLER})


def begin(scope: Scope) -> Call:
    """The call of a request: under the id that it came with, if that is sane, else a new one."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    sent = headers.get(b"x-request-id", b"")
    request_id = sent.decode() if REQUEST_ID.fullmatch(sent) else new_id()
    trace = headers.get(b"traceparent", b"")
    call = Call(
        cause=Cause(correlation_id=request_id, traceparent=trace.decode() if TRACEPARENT.fullmatch(trace) else None),
        log={"request_id": request_id},
    )
    correlation.begin(call)
    return call


def headers(call: Call, cold: float | None) -> list[tuple[bytes, bytes]]:
    """Under which id it is known, and whether a process had to be started for it."""
    timing = "start;desc=warm" if cold is None else f"start;desc=cold;dur={(time.time() - cold) * 1000:.1f}"
    return [(b"x-request-id", str(call.log["request_id"]).encode()), (b"server-timing", timing.encode())]


def require_once(scope: Scope) -> None:
    """Refuse a header that decides something and came twice.

    Raises:
        BadRequest: with its name.
    """
    names = [name for name, _ in scope["headers"] if name in _ONLY_ONCE]
    repeated = next((name.decode() for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise BadRequest(f"The header {repeated} came twice.")
