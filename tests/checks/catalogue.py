"""The catalogue as files: the schemas, the EventTypes and docs/events.md. `make generated` writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from functions.catalogue import payloads, schema
from functions.payload import Payload
from knative.runtime.eventtypes import EMITTED_BY
from knative.runtime.manifests import load
from tests.checks.manifests import OVERLAY, READ_BY_NOBODY
from tests.checks.traffic import emitters, readers

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = "functions/schemas"
SAY = "Generated from functions/events.py by `make generated`."


def files() -> dict[str, Callable[[], str]]:
    """What makes the text of each file, by its path."""
    return {
        **{f"{SCHEMAS}/{name}.json": _writer(payload) for name, payload in payloads().items()},
        "knative/base/event_types.yaml": event_types,
        "docs/events.md": document,
    }


def _writer(payload: type[Payload]) -> Callable[[], str]:
    return lambda: json.dumps(schema(payload), indent=2, ensure_ascii=False) + "\n"


def strays() -> Iterator[str]:
    """Schemas of events that are not in the catalogue any more."""
    for file in sorted((ROOT / SCHEMAS).glob("*.json")):
        if file.stem not in payloads():
            yield f"{SCHEMAS}/{file.name}"


def event_types() -> str:
    """knative/base/event_types.yaml: what `kubectl get eventtypes` and `wake eventtypes` list."""
    emitted = emitters()
    bodies = [_event_type(payload, emitted[name]) for name, payload in payloads().items()]
    return f"# {SAY}\n" + yaml.safe_dump_all(bodies, sort_keys=False, width=120, allow_unicode=True)


def _event_type(payload: type[Payload], emitted_by: list[str]) -> dict[str, Any]:
    # These attributes in this order, and no others, are what a cluster keeps: it stores EventTypes as v1beta2
    # (Knative Eventing, pkg/apis/eventing/v1beta2/eventtype_conversion.go). So applying them again changes nothing.
    fixed = {"specversion": None, "id": None, "type": payload.TYPE, "source": payload.source()}
    attributes = [
        {"name": name, "required": True, **({} if value is None else {"value": value})} for name, value in fixed.items()
    ]
    told = {EMITTED_BY: ", ".join(emitted_by)} if emitted_by else {}
    return {
        "apiVersion": "eventing.knative.dev/v1beta3",
        "kind": "EventType",
        "metadata": {
            "name": payload.TYPE,
            "annotations": {**told, "wake.dev/dataschema": payload.schema_uri()},
        },
        "spec": {
            "reference": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"},
            "description": sentence(payload),
            "attributes": attributes,
        },
    }


def sentence(payload: type[Payload]) -> str:
    """When it is sent: its class's docstring."""
    return " ".join((payload.__doc__ or "").split())


def document() -> str:
    """docs/events.md."""
    emitted, read = emitters(), readers(load(OVERLAY))
    sections = [_section(payload, emitted[name], _read_by(name, read)) for name, payload in payloads().items()]
    rows = [
        f"| [`{name}`](#{name.replace('.', '')}) | {sentence(payload)} | {_read_by(name, read)} |"
        for name, payload in payloads().items()
    ]
    return "\n".join([_HEAD, *rows, "", *sections])


_HEAD = f"""\
# The events

{SAY} Beside it: the JSON Schemas in `{SCHEMAS}/`,
[asyncapi.yaml](asyncapi.yaml) with the headers, and `wake eventtypes`, which says the same of what is deployed.

Every event is a CloudEvent 1.0. `source` is `/wake/AREA`, `subject` what it is about, `dataschema` the `$id` of its
schema (a name, not an address; events that were recorded before there were schemas have none), `correlationid` the
request that began it all, `causationid` the event that it follows from. Unknown fields and attributes are to be
ignored: within a version fields are added, with a default. What else may change, and how to make a `v2`, is said in
[decision 56](decisions/0056-what-may-change-in-an-event.md). What a Trigger cannot deliver goes to `deadletters-keep`.

| Type | When | Read by |
| --- | --- | --- |"""


def _read_by(name: str, read: Mapping[str, Any]) -> str:
    by = [f"`{one.function}` (Trigger `{one.trigger}`)" for one in read[name]]
    return ", ".join(by) or f"nobody here; {READ_BY_NOBODY.get(name, 'nobody needs it')}"


def _section(payload: type[Payload], emitted_by: list[str], read_by: str) -> str:
    fields = schema(payload)
    emitted = ", ".join(f"`{name}`" for name in emitted_by)
    return "\n".join(
        [
            f"## {payload.TYPE}",
            "",
            sentence(payload),
            "",
            f"- Emitted by: {emitted or 'nobody yet: no function of this area is woken by events'}.",
            f"- Read by: {read_by}.",
            f"- Subject: `{payload.SUBJECT}`. Schema: [{payload.TYPE}.json](../{SCHEMAS}/{payload.TYPE}.json).",
            "",
            "| Field | Type | Required | Meaning | Example |",
            "| --- | --- | --- | --- | --- |",
            *(_row(name, one, name in fields.get("required", ())) for name, one in fields["properties"].items()),
            "",
        ]
    )


def _row(name: str, field: Mapping[str, Any], required: bool) -> str:
    kinds = [str(one.get("type", "any")) for one in field.get("anyOf", [field])]
    example = ", ".join(f"`{json.dumps(one)}`" for one in field.get("examples", ()))
    cells = (f"`{name}`", " or ".join(kinds), "yes" if required else "no", field.get("description", ""), example)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
