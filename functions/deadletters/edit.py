"""Changes the event that a dead letter is about: PATCH /deadletters/{id}, by an admin who says why."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, field_validator, model_validator

from eventing.event import compact
from functions import etags
from functions.app import EVENT_BYTES_MAX, operation
from functions.bodies import StrictModel, body
from functions.database import InDatabase
from functions.deadletters import deadletters, differences
from functions.deadletters.access import InPath, Reason
from functions.deadletters.deadletter import FIXED, content
from functions.errors import FieldError, Unprocessable
from functions.identity import Admin


class EditDeadLetter(StrictModel):
    """What changes: the data as a whole (as JSON, or as bytes in Base64), some attributes (null takes one away)."""

    data: Any = None
    data_base64: str | None = None
    attributes: dict[str, str | None] = Field(default_factory=dict)
    reason: Reason

    @field_validator("attributes")
    @classmethod
    def are_not_fixed(cls, attributes: dict[str, str | None]) -> dict[str, str | None]:
        """What names the event is not changed by hand."""
        if fixed := sorted(FIXED & attributes.keys()):
            raise ValueError(f"{', '.join(fixed)} cannot be edited: an edited event gets an id of its own")
        return attributes

    @field_validator("data_base64")
    @classmethod
    def is_base64(cls, encoded: str | None) -> str | None:
        """Strictly (RFC 4648, section 3.3)."""
        _decoded(encoded or "")
        return encoded

    @model_validator(mode="after")
    def changes_something(self) -> EditDeadLetter:
        """Data once, or attributes."""
        given = self.model_fields_set & {"data", "data_base64"}
        if len(given) > 1:
            raise ValueError("data and data_base64 are the same thing: give one")
        if not given and not self.attributes:
            raise ValueError("there is nothing to change: give data, data_base64 or attributes")
        return self

    @property
    def content(self) -> bytes | None:
        """The new data as bytes; None where it stays."""
        if "data" in self.model_fields_set:
            return compact(self.data)
        return None if self.data_base64 is None else _decoded(self.data_base64)


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("this is not Base64") from error


app = operation(__name__, body_bytes_max=2 * EVENT_BYTES_MAX)


@app.patch("/deadletters/{letter_id}")
async def edit(
    request: Request,
    letter_id: InPath,
    caller: Admin,
    asked: Annotated[EditDeadLetter, body(EditDeadLetter, decimals=False)],
    database: InDatabase,
) -> Response:
    """Change it; with If-Match only if nobody else has meanwhile (412). The original stays as it came.

    The answer says how the data breaks the schema of its type now.
    """
    if asked.content is not None and len(asked.content) > EVENT_BYTES_MAX:
        raise Unprocessable(errors=[FieldError("data", f"an event has at most {EVENT_BYTES_MAX} bytes")])
    async with database.transaction() as transaction:
        letter = await deadletters.lock(transaction, letter_id)
        etags.require_match(request, etags.etag(letter.version))
        letter.require_open()
        edited = letter.edit(asked.content, asked.attributes)
        await deadletters.save_edit(transaction, letter, edited, caller.username, asked.reason)
    shown = {
        **edited.summary(),
        "edit": None if edited.edited is None else content(edited.edited),
        "schema_differences": differences.from_schema(edited.event),
    }
    return JSONResponse(shown, headers={"etag": etags.etag(edited.version)})
