"""Sends a dead letter's event once more: to the subscriber that failed, and to no other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from functions.database import Database
from functions.deadletters import deadletters
from functions.deadletters.deadletter import Letter, Redriven
from functions.deadletters.failure import REDRIVE, Attempt, readable
from functions.errors import Conflict, Rejected
from functions.subscribers import Delivery, Subscribers, of_destination


class NobodyToSendItTo(Conflict):
    """Where it failed is no Trigger's subscriber that the ConfigMap `triggers` names, and nothing else is called."""


@dataclass(frozen=True)
class Result:
    """What became of one redrive: `handled`, `refused`, `failed`; or it was not sent: `already` done, or `skipped`."""

    id: UUID
    outcome: str
    reason: str | None

    def view(self) -> dict[str, str | None]:
        """As the API shows it."""
        return {"id": str(self.id), "outcome": self.outcome, "reason": self.reason}


def destination_of(letter: Letter, subscribers: Subscribers) -> str:
    """The known subscriber that a letter could not be delivered to.

    Raises:
        NobodyToSendItTo: 409; the destination came with an event, and anybody may have written it.
    """
    found = of_destination(letter.destination, subscribers.triggers)
    if found is None:
        raise NobodyToSendItTo
    return found


async def redrive(database: Database, subscribers: Subscribers, letter_id: UUID, who: str) -> Result:
    """Send it once; what was sent already, by whomever, is not sent again.

    Whoever is killed between sending and writing that down holds the letter for a minute; then it can be sent again,
    and the consumer's inbox knows it.
    """
    try:
        letter, destination, redrive_id = await _begin(database, subscribers, letter_id, who)
    except Redriven as reason:
        return Result(letter_id, "already", str(reason))
    except Rejected as reason:
        return Result(letter_id, "skipped", str(reason))
    done = await subscribers.deliver(destination, letter.event.with_extensions(**{REDRIVE: str(redrive_id)}))
    handled = done.outcome == "handled"
    async with database.transaction() as transaction:
        settled = await deadletters.end_redrive(
            transaction, letter_id, _attempt(redrive_id, destination, done), handled=handled
        )
    return Result(letter_id, "refused" if handled and not settled else done.outcome, done.reason)


async def _begin(database: Database, subscribers: Subscribers, letter_id: UUID, who: str) -> tuple[Letter, str, UUID]:
    async with database.transaction() as transaction:
        letter = await deadletters.lock(transaction, letter_id)
        letter.require_open()
        destination = destination_of(letter, subscribers)
        return letter, destination, await deadletters.begin_redrive(transaction, letter, who)


def _attempt(redrive_id: UUID, destination: str, done: Delivery) -> Attempt:
    code = "refused" if done.outcome == "refused" else done.code
    return Attempt(str(redrive_id), 1, datetime.now(UTC), destination, code, readable(done.reason or ""))
