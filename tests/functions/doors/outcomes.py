"""What becomes of a call, whichever door it came through: done, or one of the classes of functions/errors.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

OF_HTTP = {
    200: "done",
    202: "done",
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not found",
    413: "too long",
    422: "unprocessable",
    503: "unavailable",
    504: "too late",
}
# google/rpc/code.proto
OF_GRPC = {
    3: "unprocessable",
    4: "too late",
    5: "not found",
    7: "forbidden",
    8: "too long",
    14: "unavailable",
    16: "unauthenticated",
}


@dataclass(frozen=True)
class Outcome:
    """Its class; the order that was answered; the fields that are named; in how many seconds to try again."""

    kind: str
    order: Mapping[str, Any] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    retry_after: int | None = None


def of_http(status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> Outcome:
    """Of an answer over HTTP: an order, or a problem document."""
    kind = OF_HTTP[status]
    if kind == "done":
        return Outcome(kind, body)
    assert headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    after = headers.get("retry-after")
    return Outcome(
        kind, {}, tuple(one["field"] for one in body.get("errors", ())), None if after is None else int(after)
    )


def of_grpc(code: int, found: list[Any]) -> Outcome:
    """Of a status of gRPC with its details."""
    fields = tuple(
        violation.field for one in found if isinstance(one, details.BadRequest) for violation in one.field_violations
    )
    after = next((one.retry_delay.seconds for one in found if isinstance(one, details.RetryInfo)), None)
    return Outcome(OF_GRPC[code], {}, fields, after)


def of_status(status: Status) -> Outcome:
    """Of a status that is a message."""
    found = []
    for kind in (details.BadRequest, details.RetryInfo):
        for one in status.details:
            if one.Is(kind.DESCRIPTOR):
                found.append(kind())
                one.Unpack(found[-1])
    return of_grpc(status.code, found)
