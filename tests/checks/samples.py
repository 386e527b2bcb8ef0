"""Events as they were really emitted, in tests/samples/events/TYPE/: whatever the code becomes, it has to take them.

They are added to and never changed: each stands for what lies in somebody's outbox, stream or dead letters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from eventing import strictjson
from eventing.event import Event, new_id, to_json
from eventing.gate import NotAnEvent, from_json
from functions.bodies import field_errors
from functions.catalogue import payloads, schema
from functions.events import ORDER
from functions.payload import Payload

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "tests/samples/events"
_DEPTH_MAX = 64


class NoExample(Exception):
    """A field of a new event has no example to make a sample of; the message says which."""


def stored() -> list[Path]:
    """Every sample."""
    return sorted(FOLDER.glob("*/*.json"))


def problem(file: Path, known: dict[str, type[Payload]]) -> str | None:
    """Why the code of today cannot take this sample, if it cannot."""
    try:
        event = from_json(file.read_bytes())
    except NotAnEvent as error:
        return f"is no CloudEvent: {error}"
    payload = known.get(event.type)
    if payload is None:
        return f"is of type {event.type}, which is not in functions/events.py"
    if event.type != file.parent.name:
        return f"is of type {event.type}, and lies in another's folder"
    try:
        taken = payload.model_validate(data(event))
    except strictjson.InvalidJson as error:
        return f"is refused: {error}"
    except ValidationError as error:
        return f"is refused: {', '.join(f'{one.field}: {one.message}' for one in field_errors(error))}"
    return _contradiction(event, taken)


def data(event: Event) -> Any:
    """An event's data, parsed as functions parse it.

    Raises:
        InvalidJson: it is no JSON.
    """
    return strictjson.parse(event.data, depth_max=_DEPTH_MAX)


def _contradiction(event: Event, taken: Payload) -> str | None:
    """What the schema, or the subject, says otherwise."""
    error = next(Draft202012Validator(schema(type(taken))).iter_errors(data(event)), None)
    if error is not None:
        return f"is taken by the code and not by its schema: {error.message}"
    subject = str(getattr(taken, taken.SUBJECT))
    if event.subject not in {None, subject}:
        return f"has the subject {event.subject}, and its {taken.SUBJECT} is {subject}"
    return None


def first(payload: type[Payload]) -> Iterator[tuple[str, str]]:
    """Samples of a new event, by name: as it is emitted, the least of it, and as a later version may send it.

    Raises:
        NoExample: a field that it has to have has none.
    """
    fields = payload.model_fields
    for name, one in fields.items():
        if one.is_required() and not one.examples:
            raise NoExample(f"{payload.TYPE} has no example of {name}: Field(examples=[...])")
    whole = payload.model_validate({name: one.examples[0] for name, one in fields.items() if one.examples}).to_event()
    attributes: dict[str, Any] = json.loads(to_json(whole))
    required = {name: one for name, one in attributes["data"].items() if fields[name].is_required()}
    named = ("specversion", "id", "source", "type")
    yield "emitted", _text(attributes)
    yield "minimal", _text({**{name: attributes[name] for name in named}, "data": required})
    yield "later", _text({**attributes, "tenant": "one", "data": {**attributes["data"], "added_later": {"in": [1]}}})


def _text(event: dict[str, Any]) -> str:
    # Each is an event of its own, about an order of its own.
    own = json.dumps({**event, "id": new_id()}, indent=2, ensure_ascii=False).replace(ORDER, new_id())
    return own + "\n"


def missing() -> list[str]:
    """Events without samples."""
    return [name for name in payloads() if not (FOLDER / name / "emitted.json").exists()]


def write_first() -> None:
    """Give every event that has no samples its first ones.

    Raises:
        NoExample: a field has none.
    """
    for name in missing():
        made = dict(first(payloads()[name]))
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        for kind, text in made.items():
            (FOLDER / name / f"{kind}.json").write_text(text)
