"""Until when a call has to be answered, and what stops there: statements, transactions and calls that it makes.

For HTTP the gateway says it: Envoy, and so Knative's Kourier where a route has a time-out, sends
`x-envoy-expected-rq-timeout-ms` upstream. A caller may want less, never more: `x-request-timeout-ms`. Both are whole
milliseconds from the arrival of the request. Where the gateway says nothing, or more than that,
REQUEST_TIMEOUT_SECONDS is the time there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from functions import correlation
from functions.errors import BadRequest, DeadlineExceeded

OF_GATEWAY = b"x-envoy-expected-rq-timeout-ms"
OF_CALLER = b"x-request-timeout-ms"
_DIGITS_MAX = 12


@dataclass(frozen=True)
class DeadlineSettings:
    """How long a call may take where nobody says less."""

    #: Seconds. Knative's own default of `timeoutSeconds`: what takes longer is cut there.
    request_timeout_seconds: float = 300.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> DeadlineSettings:
        """REQUEST_TIMEOUT_SECONDS."""
        return cls(float(environ.get("REQUEST_TIMEOUT_SECONDS") or cls.request_timeout_seconds))


def seconds_of(headers: Iterable[tuple[bytes, bytes]], settings: DeadlineSettings) -> float:
    """How long a request may take from its arrival, by its headers.

    Raises:
        BadRequest: the caller's own header is no whole number of milliseconds.
    """
    sent = dict(headers)
    seconds = settings.request_timeout_seconds
    gateway = _milliseconds(sent.get(OF_GATEWAY, b""))
    if gateway:
        # Envoy has no zero: a route without a time-out sends no header.
        seconds = min(seconds, gateway / 1000)
    if OF_CALLER in sent:
        caller = _milliseconds(sent[OF_CALLER])
        if caller is None:
            raise BadRequest(f"{OF_CALLER.decode()} has to be a whole number of milliseconds.")
        seconds = min(seconds, caller / 1000)
    return seconds


def _milliseconds(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= _DIGITS_MAX else None


def seconds_left() -> float | None:
    """What is left of the current call's time; None where it has no deadline.

    Raises:
        DeadlineExceeded: nothing.
    """
    deadline = correlation.current().deadline
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded
    return left


@contextlib.asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Cancel what is inside at the current call's deadline.

    Raises:
        DeadlineExceeded: it came.
    """
    try:
        async with asyncio.timeout(seconds_left()) as limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise DeadlineExceeded from error
        raise
