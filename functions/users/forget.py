"""Forgets the cached copy of a user who changed, or left.

Whoever made the change has forgotten it already, before it answered; this is for the process that was killed between
the two, and for the cache that did not answer just then.
"""

from __future__ import annotations

from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.events import Change, UsersDeactivated, UsersUpdated

app = operation(__name__)


@app.on(UsersUpdated, UsersDeactivated)
async def forget(_: Change, event: Event, __: Database) -> None:
    """As often as it comes; a copy of a later version stays. A cache that is away is tried again while it matters."""
    await app.state.cache.forget_again(event)
