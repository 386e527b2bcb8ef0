"""Filebeat's configuration against what functions really write: each field gets its ECS name, and each name a field."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from grpclib.exceptions import GRPCError

from eventing.event import Event
from functions.logs import JsonFormatter
from protos.users.v1.users_grpc import UsersServiceStub
from protos.users.v1.users_pb2 import GetUserRequest
from tests.functions.conftest import bearer
from tests.operations import observed

LOGS = observed.ROOT / "knative/components/logs"
# Of ECS 8.12, the fields that are used, with their types (its field reference); written by hand.
ECS = {
    "@timestamp": "date",
    "ecs.version": "keyword",
    "error.stack_trace": "wildcard",
    "event.action": "keyword",
    "event.dataset": "keyword",
    "event.duration": "long",
    "event.id": "keyword",
    "event.reason": "keyword",
    "http.request.id": "keyword",
    "http.request.method": "keyword",
    "http.response.status_code": "long",
    "log.level": "keyword",
    "service.name": "keyword",
    "url.path": "wildcard",
    "user.name": "keyword",
}


def filebeat() -> dict[str, Any]:
    """The configuration."""
    return dict(yaml.safe_load((LOGS / "filebeat.yml").read_text()))


def template(node: dict[str, Any] | None = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each field of the index template, with its type."""
    if node is None:
        node = json.loads((LOGS / "index_template.json").read_text())["template"]["mappings"]["properties"]
    for name, one in node.items():
        if "properties" in one:
            yield from template(one["properties"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", one["type"]


def processed(line: str) -> dict[str, Any]:
    """What Filebeat's processors make of a line of JSON, as their documentation has it; the script by hand."""
    decode, condition, version = filebeat()["processors"]
    assert decode["decode_json_fields"]["target"] == "wake"
    found = {f"wake.{name}": value for name, value in json.loads(line).items()}
    assert all(name in found for name in condition["if"]["has_fields"])
    timestamp, script, rename, drop, dataset = condition["then"]
    found["@timestamp"] = found[timestamp["timestamp"]["field"]]
    assert 'Math.round(ms * 1e6)); event.Delete("wake.duration_ms")' in script["script"]["source"]
    if "wake.duration_ms" in found:
        found["event.duration"] = round(found.pop("wake.duration_ms") * 1e6)
    for one in rename["rename"]["fields"]:
        if one["from"] in found:
            found[one["to"]] = found.pop(one["from"])
    for one in (dataset, version):
        added = one["add_fields"]
        found |= {f"{added['target']}.{name}": value for name, value in added["fields"].items()}
    return {name: value for name, value in found.items() if name not in drop["drop_fields"]["fields"]}


@pytest.fixture
async def lines(serve: Any, serve_rpc: Any) -> list[str]:
    """What functions write of calls, of an event, of a refusal, of a bug and of gRPC."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter("some-function"))
    log = logging.getLogger("functions")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        get = await serve("orders.get")
        await get.client.get("/orders/none", headers=bearer("ada"))
        confirm = await serve("orders.confirm")
        await confirm.post_event(Event(id="1", source="/x", type="payments.captured.v1", subject="s", data=b"{}"))
        rpc = await serve_rpc("users.rpc")
        with pytest.raises(GRPCError):
            await UsersServiceStub(rpc.channel).GetUser(GetUserRequest(username="nobody"), metadata=bearer("ada"))
        log.error("bug", exc_info=ValueError("no way"))
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    return written.getvalue().splitlines()


async def test_every_field_of_the_index_template_is_in_a_real_line(lines: list[str]) -> None:
    """And no line has a field that the template does not know, so that none is indexed by guessing."""
    found = {name for line in lines for name in processed(line)}
    known = dict(template())

    assert found == known.keys()


def test_what_is_not_below_wake_is_ecs() -> None:
    """By name and type."""
    assert {name: kind for name, kind in template() if not name.startswith("wake.")} == ECS


def test_a_time_has_the_layout_that_filebeat_reads() -> None:
    """Go's reference time, with milliseconds."""
    record = logging.makeLogRecord({"msg": "x", "levelno": logging.INFO, "levelname": "INFO"})
    time = json.loads(JsonFormatter("f").format(record))["time"]
    timestamp = filebeat()["processors"][1]["then"][0]["timestamp"]

    assert len(time) == len(timestamp["test"][0]) == len(timestamp["layouts"][0])
