"""Refusals as gRPC statuses, with the details of google.rpc (google/rpc/error_details.proto; AIP-193)."""

from __future__ import annotations

from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from functions import errors
from functions.errors import Refusal

# The first that a refusal is an instance of.
_STATUSES: tuple[tuple[type[Refusal], Status], ...] = (
    (errors.Unauthenticated, Status.UNAUTHENTICATED),
    (errors.Forbidden, Status.PERMISSION_DENIED),
    (errors.NotFound, Status.NOT_FOUND),
    # To be tried again from where the caller read it last (google/rpc/code.proto, ABORTED).
    (errors.StillRunning, Status.ABORTED),
    (errors.PreconditionFailed, Status.ABORTED),
    (errors.AlreadyThere, Status.ALREADY_EXISTS),
    (errors.Conflict, Status.FAILED_PRECONDITION),
    (errors.Rejected, Status.INVALID_ARGUMENT),
    (errors.DeadlineExceeded, Status.DEADLINE_EXCEEDED),
    (errors.Unavailable, Status.UNAVAILABLE),
)
# Who says the `reason` of an ErrorInfo.
DOMAIN = "wake"


def status_of(refusal: Refusal) -> Status:
    """The status that says the same as a refusal."""
    return next((status for kind, status in _STATUSES if isinstance(refusal, kind)), Status.INTERNAL)


def of_refusal(refusal: Refusal) -> GRPCError:
    """One of our own errors as what a gRPC caller gets: status, sentence, and details that a program can read."""
    return GRPCError(status_of(refusal), refusal.detail, list(_details(refusal)))


def bug() -> GRPCError:
    """What a caller is told of a mistake of ours: nothing."""
    return GRPCError(
        Status.INTERNAL,
        "Something went wrong here. It has been noted; trying again may help.",
        [_info("INTERNAL", "Internal Server Error")],
    )


def _details(refusal: Refusal) -> list[Message]:
    found: list[Message] = [_info(_reason(refusal), refusal.title)]
    if refusal.errors:
        violations = [
            details.BadRequest.FieldViolation(field=one.field, description=one.message) for one in refusal.errors
        ]
        found.append(details.BadRequest(field_violations=violations))
    seconds = refusal.headers.get("retry-after")
    if seconds is not None:
        retry = details.RetryInfo()
        retry.retry_delay.FromSeconds(int(seconds))
        found.append(retry)
    return found


def _info(reason: str, title: str) -> details.ErrorInfo:
    return details.ErrorInfo(reason=reason, domain=DOMAIN, metadata={"title": title})


def _reason(refusal: Refusal) -> str:
    """The refusal's class in capitals: UnknownUser is UNKNOWN_USER."""
    name = type(refusal).__name__
    return "".join(f"_{one}" if one.isupper() and at else one for at, one in enumerate(name)).upper()
