"""Around each call: who calls, what it is part of, how it ended; and after it the events that it recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError

from eventing.event import new_id
from functions import correlation, identity
from functions.correlation import REQUEST_ID, TRACEPARENT, Call, Cause
from functions.errors import BadRequest, Refusal, Unauthenticated
from functions.lifespan import publish
from functions.rpc import statuses
from functions.rpc.service import Service

_log = logging.getLogger("functions")


def answering(app: Service, path: str, handler: Handler) -> Handler:
    """The handler as it is served."""

    async def answer(stream: Any) -> None:
        call = begin(stream.metadata, stream.deadline)
        began = time.perf_counter()
        cold, app.state.process_started = app.state.process_started, None
        status = Status.OK
        try:
            _authenticate(stream.metadata)
            await handler.func(stream)
        except GRPCError as error:
            status = error.status
            raise
        except Refusal as refusal:
            status = statuses.status_of(refusal)
            raise statuses.of_refusal(refusal) from refusal
        except Exception as error:
            status = Status.INTERNAL
            _log.exception("bug")
            raise statuses.bug() from error
        finally:
            _log.info(
                "request",
                extra={
                    "method": path,
                    "grpc_status": status.name,
                    "duration_ms": round((time.perf_counter() - began) * 1000, 1),
                    "start": "warm" if cold is None else "cold",
                    "correlation_id": call.cause.correlation_id,
                    **call.log,
                },
            )
            await publish(app, call)

    return handler._replace(func=answer)


def begin(metadata: Mapping[str, Any], deadline: Any) -> Call:
    """The call that a request is: under the id that it came with, if that is sane, else a new one."""
    sent = metadata.get("x-request-id", "")
    request_id = sent if REQUEST_ID.match(sent.encode()) else new_id()
    trace = metadata.get("traceparent", "")
    call = Call(
        cause=Cause(correlation_id=request_id, traceparent=trace if TRACEPARENT.match(trace.encode()) else None),
        log={"request_id": request_id},
        deadline=None if deadline is None else time.monotonic() + deadline.time_remaining(),
    )
    correlation.begin(call)
    return call


def _authenticate(metadata: Any) -> None:
    values = metadata.getall("authorization", [])
    if len(values) > 1:
        # One of them would win here and perhaps the other elsewhere.
        raise BadRequest("The metadata authorization came twice.")
    if not values:
        raise Unauthenticated
    identity.of_authorization(values[0])
