"""Back-pressure from the Broker to the API: while it is away the outbox holds what was accepted, but not without end.

As long as publishing goes well nothing is asked. Once this process could not publish, what begins something new looks
how much of its area's outbox waits, once a second, and is refused while that is too much. What is accepted already
goes on: a cancellation, an event, the relay.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from fastapi import Request

from eventing import outbox
from functions.database import Database, translated
from functions.errors import Unavailable

_LOOK_AGAIN_SECONDS = 1.0
_RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True)
class PressureSettings:
    """How far an outbox may fall behind before new work is refused."""

    #: Events that wait to be published.
    unpublished_max: int = 1000
    #: Those that are younger do not count: they are being published.
    older_than_seconds: float = 10.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> PressureSettings:
        """The settings of OUTBOX_UNPUBLISHED_MAX.

        Raises:
            ValueError: it is no whole number.
        """
        text = environ.get("OUTBOX_UNPUBLISHED_MAX", "")
        if text and not text.isdigit():
            raise ValueError(f"OUTBOX_UNPUBLISHED_MAX is a whole number of events, not {text!r}")
        return cls(int(text)) if text else cls()


class Pressure:
    """What one process knows of its area's outbox."""

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._failed = False
        self._behind = False
        self._looked = -_LOOK_AGAIN_SECONDS

    def note(self, *, published: bool) -> None:
        """Whether the last events went out."""
        self._failed = not published

    async def require_room(self, database: Database) -> None:
        """Go on where there is room for something new.

        Raises:
            Unavailable: too many events wait already.
        """
        if not self._failed:
            return
        if time.monotonic() - self._looked >= _LOOK_AGAIN_SECONDS:
            self._looked = time.monotonic()
            age = timedelta(seconds=self._settings.older_than_seconds)
            with translated():
                self._behind = await outbox.behind(database.connections, age, self._settings.unpublished_max)
        if self._behind:
            detail = "Nothing new is accepted: its events could not be passed on at the moment. Try again."
            raise Unavailable(detail, retry_after_seconds=_RETRY_AFTER_SECONDS)


async def new_work(request: Request) -> None:
    """A dependency of the routes that begin something new.

    Raises:
        Unavailable: see Pressure.
    """
    await request.app.state.pressure.require_room(request.app.state.database)
