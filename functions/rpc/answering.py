"""Around each call: whether it is taken, what it is part of, how it ended; and after it the events that it recorded."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any

from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from eventing.event import new_id
from functions import correlation
from functions.correlation import REQUEST_ID, TRACEPARENT, Call, Cause
from functions.errors import BadRequest, Refusal, Unauthenticated
from functions.identity import TokenSettings, authenticate
from functions.lifespan import publish
from functions.rpc import statuses
from functions.rpc.headers import Headers
from functions.rpc.messages import ENCODINGS
from functions.rpc.server_stream import ServerStream
from functions.rpc.service import Service

_log = logging.getLogger("functions")
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# What is more cannot be said on in seconds (at most eight digits); it is three years.
_SECONDS_MAX = 99_999_999.0
# Sent twice, one of them would win here and perhaps the other elsewhere.
_ONLY_ONCE = frozenset(
    {
        b":method",
        b":scheme",
        b":path",
        b":authority",
        b"authorization",
        b"content-type",
        b"grpc-timeout",
        b"grpc-encoding",
    }
)


def begin(found: dict[bytes, bytes]) -> Call:
    """The call of a request: under the id that it came with, if that is sane, else a new one."""
    sent = found.get(b"x-request-id", b"")
    request_id = sent.decode() if REQUEST_ID.fullmatch(sent) else new_id()
    trace = found.get(b"traceparent")
    return Call(
        Cause(request_id, None, trace.decode() if trace is not None and TRACEPARENT.fullmatch(trace) else None),
        log={"request_id": request_id, "method": found.get(b":path", b"").decode("latin-1")},
    )


def admit(call: Call, fields: Headers, found: dict[bytes, bytes], tokens: TokenSettings | None) -> int:
    """Let the call in, or not; answers how its messages are packed, as zlib knows it. Without *tokens* all are let in.

    Raises:
        GRPCError: UNIMPLEMENTED for an encoding that is not known, INTERNAL for a deadline that is none,
            DEADLINE_EXCEEDED for one that is over.
        Refusal: nobody's call, or a header that came twice.
    """
    if len(found) != len(fields):
        _require_once(fields)
    timeout = found.get(b"grpc-timeout")
    if timeout is not None:
        call.deadline = time.monotonic() + _seconds(timeout)
    if tokens is not None:
        authorization = found.get(b"authorization")
        if authorization is None:
            raise Unauthenticated
        authenticate(call, authorization.decode("latin-1"), tokens)
    wbits = ENCODINGS.get(found.get(b"grpc-encoding", b"identity"))
    if wbits is None:
        raise GRPCError(Status.UNIMPLEMENTED, "Messages are taken as they are, or packed with gzip or deflate.")
    return wbits


def _require_once(fields: Headers) -> None:
    names = [name for name, _ in fields if name in _ONLY_ONCE]
    for name in names:
        if names.count(name) > 1:
            raise BadRequest(f"The metadata {name.decode()} came twice.")


def _seconds(timeout: bytes) -> float:
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise GRPCError(Status.INTERNAL, "grpc-timeout is no time.")
    if not int(match[1]):
        raise GRPCError(Status.DEADLINE_EXCEEDED, "There was no time for it.")
    return min(_SECONDS_MAX, int(match[1]) * _UNITS[match[2]])


async def run(app: Service, stream: ServerStream) -> None:
    """Let the handler answer, however it ends."""
    call = stream.call
    correlation.begin(call)
    error: GRPCError | None = None
    try:
        try:
            await stream.handler.func(stream)
            await stream.finish()
        except Exception as failure:  # noqa: BLE001 - each has its status.
            error = _told(stream, failure)
            stream.answer(error)
    except asyncio.CancelledError:
        if stream.stopped is None:
            raise
        # It was ended from outside; what follows is to be done all the same.
        task: Any = asyncio.current_task()
        task.uncancel()
    stream.settled()
    note(app, stream, stream.stopped or error)
    await publish(app, call)


def _told(stream: ServerStream, failure: Exception) -> GRPCError:
    """What the caller is told of what the handler raised."""
    if isinstance(failure, GRPCError):
        return failure
    if isinstance(failure, Refusal):
        return statuses.of_refusal(failure)
    if stream.stopped is None:
        _log.error("bug", exc_info=failure)
    return statuses.bug()


def note(app: Service, stream: ServerStream, error: GRPCError | None) -> None:
    """Count it, and write one line of log; of what is open to all nothing."""
    if not stream.logged:
        return
    cold, app.state.process_started = app.state.process_started, None
    seconds, status = time.monotonic() - stream.began, "OK" if error is None else error.status.name
    one = stream.handler.cardinality is Cardinality.UNARY_UNARY
    app.metrics.note("GRPC", status, seconds if one else None, cold=cold is not None, cache=None)
    if not _log.isEnabledFor(logging.INFO):
        return
    call = stream.call
    fields = {
        "grpc_status": status,
        "duration_ms": round(seconds * 1000, 1),
        "start": "warm" if cold is None else "cold",
        "correlation_id": call.cause.correlation_id,
        **call.log,
    }
    if error is not None and error.message:
        fields["reason"] = error.message
    _log.info("request", extra=fields)
