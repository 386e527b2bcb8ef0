"""A dead letter: the event as it came, as it was edited, and what may become of it. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from eventing.event import Event, new_id, rfc3339, to_json
from eventing.gate import NotAnEvent, from_json
from functions.errors import Conflict, FieldError, Unprocessable

# What names the event stays, or belongs to us: an edited event is another event.
FIXED = frozenset({"specversion", "id", "source", "causationid", "data", "data_base64"})


class NotKept(Conflict):
    """The dead letter is not open any more."""


class Redriven(NotKept):
    """The dead letter was redriven, and handled."""


@dataclass(frozen=True)
class Letter:
    """One dead letter, as it is in the database."""

    id: UUID
    kind: str
    state: str
    version: int
    destination: str
    code: str | None
    answer: str | None
    received_at: datetime
    original: Event
    edited: Event | None
    redriving_until: datetime | None
    attempts_made: int

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Letter:
        """The only door from the database."""
        edited = row["edited_attributes"]
        return cls(
            id=row["id"],
            kind=row["kind"],
            state=row["state"],
            version=row["version"],
            destination=row["destination"],
            code=row["code"],
            answer=row["answer"],
            received_at=row["received_at"],
            original=Event.of_attributes(json.loads(row["attributes"]), bytes(row["data"])),
            edited=None if edited is None else Event.of_attributes(json.loads(edited), bytes(row["edited_data"])),
            redriving_until=row["redriving_until"],
            attempts_made=row["attempts_made"],
        )

    @property
    def event(self) -> Event:
        """The event that a redrive sends."""
        return self.edited or self.original

    @property
    def is_being_redriven(self) -> bool:
        """Whether somebody sends it at this moment."""
        return self.redriving_until is not None and self.redriving_until > datetime.now(UTC)

    def require_open(self) -> None:
        """Refuse to change what was decided, or is being decided.

        Raises:
            NotKept: 409.
        """
        if self.state == "redriven":
            raise Redriven
        if self.state == "discarded":
            raise NotKept("The dead letter was discarded: nothing is done about it any more.")
        if self.is_being_redriven:
            raise NotKept("The dead letter is being redriven at this moment: try again when that is over.")

    def edit(self, data: bytes | None, attributes: Mapping[str, str | None]) -> Letter:
        """The letter with other data (None: as it is) and attributes (None: without).

        The event gets an id of its own, because inboxes refuse an id that comes with other content, and its
        `causationid` is the original's id. Edited back to what it was, it is the original again.

        Raises:
            Unprocessable: it would be no valid event.
        """
        merged: dict[str, Any] = {
            **self.event.attributes,
            **attributes,
            "id": new_id(),
            "causationid": self.original.id,
        }
        merged = {name: value for name, value in merged.items() if value is not None}
        content = {"data_base64": base64.b64encode(self.event.data if data is None else data).decode()}
        try:
            event = from_json(json.dumps({**merged, **content}).encode())
        except NotAnEvent as error:
            raise Unprocessable(
                "The event would not be valid.", errors=[FieldError("attributes", error.detail)]
            ) from error
        return replace(self, edited=None if _same(event, self.original) else event, version=self.version + 1)

    def summary(self) -> dict[str, Any]:
        """The letter as a list shows it: without what is in it."""
        return {
            "id": str(self.id),
            "state": self.state,
            "kind": self.kind,
            "type": self.original.type,
            "source": self.original.source,
            "event_id": self.original.id,
            "subject": self.original.subject,
            "destination": self.destination or None,
            "code": self.code,
            "answer": self.answer,
            "attempts_made": self.attempts_made,
            "edited": self.edited is not None,
            "received_at": rfc3339(self.received_at),
        }


def content(event: Event) -> dict[str, Any]:
    """An event's attributes and data as the API shows them."""
    return {
        "attributes": event.attributes,
        "data": event.data.decode(errors="replace"),
        "data_base64": base64.b64encode(event.data).decode(),
    }


def _same(one: Event, other: Event) -> bool:
    """Whether two events differ in nothing but what an edit always changes."""
    ours = {"id": "", "causationid": ""}
    return {**one.attributes, **ours} == {**other.attributes, **ours} and one.data == other.data


def as_json(event: Event) -> bytes:
    """The event for the record of changes."""
    return to_json(event, exact=True)
