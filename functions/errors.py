"""Everything that a function says no with, and what whoever called should do about it.

Refusal
├── Rejected                   permanent: the same call will be answered the same
│   ├── BadRequest             400
│   ├── Unauthenticated        401  says how to authenticate
│   ├── Forbidden              403
│   ├── NotFound               404  also where something is there but not the caller's
│   ├── Conflict               409
│   │   ├── AlreadyThere       409  what was to be made, or its name, is there
│   │   └── StillRunning       409  the first call with this key has not ended: try again
│   ├── PreconditionFailed     412
│   ├── UnsupportedMediaType   415
│   └── Unprocessable          422  names the fields
└── Unavailable                503  may pass: try again after so many seconds
    └── DeadlineExceeded       504  nobody waits for the answer any more

Over HTTP each is a problem document (RFC 9457), over gRPC a status with details (functions/rpc/statuses.py). An event
that is Rejected is recorded as refused and not retried; one that is Unavailable is delivered again by the Broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field; the message never repeats what was sent."""

    field: str
    message: str


class Refusal(Exception):
    """The request cannot be served."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal Server Error"

    def __init__(self, detail: str | None = None, *, errors: Sequence[FieldError] = ()) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.errors = tuple(errors)
        super().__init__(self.detail)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        return {}


class Rejected(Refusal):
    """The request is not acceptable."""

    status = 400
    title = "Bad Request"


class BadRequest(Rejected):
    """The request is malformed."""


class Unauthenticated(Rejected):
    """This needs a valid access token: POST /tokens gives one."""

    status = 401
    title = "Unauthorized"

    @property
    def headers(self) -> dict[str, str]:
        """The challenge that RFC 6750 asks for."""
        return {"www-authenticate": 'Bearer realm="wake"'}


class Forbidden(Rejected):
    """You may not do this."""

    status = 403
    title = "Forbidden"


class NotFound(Rejected):
    """There is nothing here."""

    status = 404
    title = "Not Found"


class Conflict(Rejected):
    """This contradicts what is already there."""

    status = 409
    title = "Conflict"


class AlreadyThere(Conflict):
    """This is already there."""


class StillRunning(Conflict):
    """A request with this Idempotency-Key is still running: try again in a moment."""

    @property
    def headers(self) -> dict[str, str]:
        """When to try again, in seconds."""
        return {"retry-after": "1"}


class PreconditionFailed(Rejected):
    """It has changed since you read it: read it again."""

    status = 412
    title = "Precondition Failed"


class UnsupportedMediaType(Rejected):
    """The body's type or encoding is not taken here."""

    status = 415
    title = "Unsupported Media Type"


class Unprocessable(Rejected):
    """The request is understood, but its content is not valid."""

    status = 422
    title = "Unprocessable Content"


class Unavailable(Refusal):
    """Something this needs is not available at the moment: try again."""

    status = 503
    title = "Service Unavailable"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> dict[str, str]:
        """When to try again, in seconds."""
        return {"retry-after": str(self.retry_after_seconds)}


class DeadlineExceeded(Unavailable):
    """The time that there was for this call is over; whether it was done is not known."""

    status = 504
    title = "Gateway Timeout"
