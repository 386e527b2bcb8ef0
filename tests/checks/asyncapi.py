"""`python -m tests.checks.asyncapi`: docs/asyncapi.yaml, made from the catalogue and the manifests, and judged."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from eventing.event import to_binary
from eventing.gate import from_json
from functions.catalogue import payloads, schema
from functions.payload import Payload
from knative.runtime.manifests import load
from tests.checks import samples
from tests.checks.asyncapi_rules import problems
from tests.checks.catalogue import SAY, sentence
from tests.checks.manifests import OVERLAY
from tests.checks.traffic import emitters, readers

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docs/asyncapi.yaml"
_CHANNEL = "#/channels/default"


def document() -> dict[str, Any]:
    """The document: the Broker is the channel, each function that sends or receives an operation."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Wake's events",
            "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "description": "CloudEvents 1.0 by the HTTP binding in binary mode; structured mode is taken as well.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {"default": _channel()},
        "operations": dict(sorted(_operations())),
        "components": {
            "schemas": {"cloudevent": _CLOUDEVENT, **{name: _data(one) for name, one in payloads().items()}},
            "messages": {name: _message(one) for name, one in payloads().items()},
        },
    }


def text() -> str:
    """The same as YAML."""
    return f"# {SAY}\n" + yaml.safe_dump(document(), sort_keys=False, width=120, allow_unicode=True)


def _servers() -> dict[str, Any]:
    return {
        "cluster": {
            "host": "broker-ingress.knative-eventing.svc.cluster.local",
            "pathname": "/shop",
            "protocol": "http",
            "description": "The ingress of Knative's Broker, in the namespace shop. Functions find it in K_SINK.",
        },
        "laptop": {
            "host": "localhost:8082",
            "pathname": "/shop",
            "protocol": "http",
            "description": "The same under `make up` (WAKE_BROKER_PORT).",
        },
    }


def _channel() -> dict[str, Any]:
    return {
        "address": "/default",
        "title": "The Broker",
        "description": "Takes every event by POST, stores it, then answers 202; its Triggers deliver it by POST.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in payloads()},
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    sent, received = dict[str, list[str]](), dict[str, list[str]]()
    for name, functions in emitters().items():
        for function in functions:
            sent.setdefault(function, []).append(name)
    for name, by in readers(load(OVERLAY)).items():
        for function in dict.fromkeys(one.function for one in by):
            received.setdefault(function, []).append(name)
    for action, of_functions in (("send", sent), ("receive", received)):
        for function, names in of_functions.items():
            yield (
                f"{function}-{action}s",
                {
                    "action": action,
                    "channel": {"$ref": _CHANNEL},
                    "title": function,
                    "messages": [{"$ref": f"{_CHANNEL}/messages/{name}"} for name in names],
                    "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
                },
            )


def _message(payload: type[Payload]) -> dict[str, Any]:
    fixed = {"ce-type": payload.TYPE, "ce-source": payload.source(), "ce-dataschema": payload.schema_uri()}
    return {
        "name": payload.TYPE,
        "title": payload.TYPE,
        "summary": sentence(payload),
        "contentType": "application/json",
        "correlationId": {
            "description": "The id of the request that began it all.",
            "location": "$message.header#/ce-correlationid",
        },
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/cloudevent"},
                {"properties": {name: {"const": value} for name, value in fixed.items()}},
            ]
        },
        "payload": {"$ref": f"#/components/schemas/{payload.TYPE}"},
        "examples": [_example(payload)],
    }


def _example(payload: type[Payload]) -> dict[str, Any]:
    """The event as it was once sent."""
    headers, body = to_binary(from_json((samples.FOLDER / payload.TYPE / "emitted.json").read_bytes()))
    shown = {name: value for name, value in headers.items() if name.startswith("ce-")}
    return {"name": "emitted", "headers": shown, "payload": json.loads(body)}


def _data(payload: type[Payload]) -> dict[str, Any]:
    # AsyncAPI's Schema Object is draft 7 of JSON Schema with additions; these schemas use nothing that came later.
    return {name: value for name, value in schema(payload).items() if name not in {"$schema", "$id"}}


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


# CloudEvents HTTP binding 1.0.2, section 3.1. Events from before there were schemas have no ce-dataschema.
_CLOUDEVENT: dict[str, Any] = {
    "type": "object",
    "title": "CloudEvents attributes",
    "required": ["ce-specversion", "ce-id", "ce-source", "ce-type"],
    "properties": {
        "ce-specversion": _text("The version of CloudEvents.", const="1.0"),
        "ce-id": _text(
            "With ce-source the event's identity: two with both equal are the same event. A UUID version 7."
        ),
        "ce-source": _text("The area that it comes from."),
        "ce-type": _text("What happened."),
        "ce-subject": _text("What it is about; x-subject in the payload's schema names the field."),
        "ce-time": _text("When it was recorded, in UTC.", format="date-time"),
        "ce-dataschema": _text("The $id of the payload's JSON Schema: a name, not an address.", format="uri"),
        "ce-correlationid": _text("The id of the request that began it all."),
        "ce-causationid": _text("The id of the event that it follows from."),
        "ce-traceparent": _text("W3C Trace Context."),
    },
}


def main() -> None:
    """Judge the document that is committed; exits with 1 where anything is wrong."""
    found = problems(yaml.safe_load(FILE.read_text()))
    print("\n".join(found) or "docs/asyncapi.yaml is AsyncAPI 3.0.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
