"""Whether a document is AsyncAPI 3.0, by three judges, none of which needs a network.

AsyncAPI's own schema is in no package that is locked here. FastStream's models know the types of fields and let
unknown ones pass; `OBJECTS` is the part of the specification that is used here, and lets none pass; the rest are the
rules between objects, which no schema can say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import ValidationError


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


def _map(values: Any) -> dict[str, Any]:
    """An object of named objects; names as components have them."""
    return {"type": "object", "propertyNames": {"pattern": r"^[\w.-]+$"}, "additionalProperties": values}


_STRING = {"type": "string"}
_REFERENCE = {
    "type": "object",
    "required": ["$ref"],
    "properties": {"$ref": {"type": "string", "pattern": "^#/"}},
    "additionalProperties": False,
}
_SERVER = _object("host protocol", host=_STRING, pathname=_STRING, protocol=_STRING, description=_STRING)
_OPERATION = _object(
    "action channel",
    action={"enum": ["send", "receive"]},
    channel=_REFERENCE,
    title=_STRING,
    messages={"type": "array", "items": _REFERENCE},
    bindings=_object(
        "", http=_object("", method={"enum": ["POST", "GET", "PUT"]}, bindingVersion={"enum": ["0.3.0", "0.2.0"]})
    ),
)
_MESSAGE = _object(
    "",
    name=_STRING,
    title=_STRING,
    summary=_STRING,
    contentType=_STRING,
    correlationId=_object(
        "location",
        description=_STRING,
        location={"type": "string", "pattern": r"^\$message\.(header|payload)#(/[^/~]+)+$"},
    ),
    headers={"type": "object"},
    payload={"type": "object"},
    examples={
        "type": "array",
        "items": {
            **_object("", name=_STRING, summary=_STRING, headers={"type": "object"}, payload={}),
            "patternProperties": {},
            "anyOf": [{"required": ["headers"]}, {"required": ["payload"]}],
        },
    },
)
# The objects of AsyncAPI 3.0.0 as far as they are used here, closed: what is misspelt has no place.
OBJECTS = _object(
    "asyncapi info",
    asyncapi={"const": "3.0.0"},
    info=_object(
        "title version", title=_STRING, version=_STRING, description=_STRING, license=_object("name", name=_STRING)
    ),
    defaultContentType=_STRING,
    servers=_map(_SERVER),
    channels=_map(
        _object(
            "",
            address={"type": ["string", "null"]},
            title=_STRING,
            description=_STRING,
            messages=_map({"anyOf": [_REFERENCE, _MESSAGE]}),
        )
    ),
    operations=_map(_OPERATION),
    components=_object("", schemas=_map({"type": "object"}), messages=_map(_MESSAGE)),
)


def problems(described: Mapping[str, Any]) -> list[str]:
    """What is wrong with an AsyncAPI document, as sentences."""
    try:
        ApplicationSchema.model_validate(described)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']} (FastStream)" for one in error.errors()]
    wrong = [f"{one.json_path}: {one.message}" for one in Draft202012Validator(OBJECTS).iter_errors(described)]
    return wrong or list(_dangling(described, described, "#")) or list(_between(described))


def _dangling(whole: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """References that lead nowhere."""
    for name, one in (
        value.items() if isinstance(value, Mapping) else enumerate(value if isinstance(value, list) else ())
    ):
        if name == "$ref" and _target(whole, one) is None:
            yield f"{path}: {one} leads nowhere"
        yield from _dangling(whole, one, f"{path}/{name}")


def _target(whole: Mapping[str, Any], reference: str) -> Any:
    found: Any = whole
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _between(described: Mapping[str, Any]) -> Iterator[str]:
    """An operation's messages are its channel's (Operation Object); examples are as their schemas say."""
    for name, operation in described["operations"].items():
        channel = operation["channel"]["$ref"]
        for one in operation["messages"]:
            if not one["$ref"].startswith(f"{channel}/messages/"):
                yield f"#/operations/{name}: {one['$ref']} is no message of {channel}"
    for name, message in described["components"]["messages"].items():
        for part in ("headers", "payload"):
            whole = {"components": described["components"], **message[part]}
            judge = Draft7Validator(whole, format_checker=Draft7Validator.FORMAT_CHECKER)
            Draft7Validator.check_schema(whole)
            for example in message["examples"]:
                yield from (f"#/components/messages/{name}: {one.message}" for one in judge.iter_errors(example[part]))
