"""The catalogue as data: every event's class by its type, and its JSON Schema.

The same schemas are committed as functions/schemas/TYPE.json, for whoever has no Python.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from functions import events
from functions.payload import Payload


class _Schema(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature.
        """A title that only repeats the field's name says nothing."""
        return False


def payloads() -> dict[str, type[Payload]]:
    """Every event's class by its type, in the catalogue's order."""
    return {
        one.TYPE: one
        for one in vars(events).values()
        if isinstance(one, type) and issubclass(one, Payload) and "TYPE" in vars(one)
    }


def schema_of(event_type: str) -> dict[str, Any] | None:
    """The JSON Schema (draft 2020-12) of the data of events of this type; None where there is no such event.

    `x-subject` names the field that the event's subject is. Unknown fields are allowed: consumers ignore them.
    """
    payload = payloads().get(event_type)
    return None if payload is None else schema(payload)


def schema(payload: type[Payload]) -> dict[str, Any]:
    """The JSON Schema of one payload class."""
    return {
        "$schema": _Schema.schema_dialect,
        "$id": payload.schema_uri(),
        **payload.model_json_schema(schema_generator=_Schema),
        "title": payload.TYPE,
        "x-subject": payload.SUBJECT,
    }
