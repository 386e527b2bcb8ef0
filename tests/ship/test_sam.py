"""The template for Lambda says what the YAML says: routes, schedules, Triggers, Secrets, memory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eventing.filters import compile_filters
from eventing.gate import from_json
from functions import together
from knative.runtime import sam, sam_events
from knative.runtime.kubernetes import NotRenderable
from knative.runtime.kustomize import collect
from knative.runtime.manifests import load
from knative.runtime.resources import RouteMatch
from knative.runtime.sam_settings import Addresses, logical
from tests.conftest import ROOT

TEMPLATE: dict[str, Any] = yaml.safe_load((ROOT / "knative/overlays/lambda/template.yaml").read_text())
FUNCTIONS = {
    one["Properties"]["Description"]: one["Properties"]
    for one in TEMPLATE["Resources"].values()
    if one["Type"] == "AWS::Serverless::Function"
}
LEFT_OUT = {
    "backlog-measure",
    "deadletters-dry-run",
    "deadletters-redrive",
    "orders-forget",
    "outbox-replay",
    "users-forget",
}


def events(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Every event source of a kind: its function, and what it says."""
    return [
        (name, event["Properties"])
        for name, function in FUNCTIONS.items()
        for event in function.get("Events", {}).values()
        if event["Type"] == kind
    ]


def test_every_function_over_http_is_there_or_is_said_to_be_left_out() -> None:
    """At the head of the file, with its reason."""
    head = (ROOT / "knative/overlays/lambda/template.yaml").read_text().partition("AWSTemplate")[0]

    assert set(FUNCTIONS) == set(together.services()) - LEFT_OUT
    assert all(f"# - {name}: " in head for name in (*LEFT_OUT, "orders-rpc", "users-rpc"))


def through_api_gateway(method: str, path: str) -> str | None:
    """The function that an HTTP API leads to: whole routes first, then greedy ones, the longer before the shorter.

    As its documentation has it ("Create routes for HTTP APIs"); a variable is one element, a greedy one any rest.
    """
    found = [
        (("{proxy+}" in route["Path"], -route["Path"].count("/"), route["Path"].count("{")), name)
        for name, route in events("HttpApi")
        if route["Method"] == method
        and re.fullmatch(re.escape(route["Path"]).replace(r"\{proxy\+\}", ".*").replace(r"\{id\}", "[^/]+"), path)
    ]
    return min(found)[1] if found else None


ELEMENTS = st.sampled_from(["orders", "users", "payments", "webhooks", "deadletters", "discards", "tokens", "x", "7"])


@given(
    st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT"]),
    st.lists(ELEMENTS, min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)
def test_a_request_goes_where_the_gateway_sends_it(method: str, elements: list[str], end: str) -> None:
    """Whatever an HTTP API makes of a slash at the end of a collection; what no route takes, no function would."""
    path = "/" + "/".join(elements) + end
    known = {name: one for name, one in together.services().items() if name in FUNCTIONS}
    scope = {"method": method, "path": path, "headers": []}
    wanted = together.function_of(scope, [], together.routes(known))
    found = through_api_gateway(method, path)

    if found not in {wanted, None} and wanted is None:
        # It is asked for what is under its collection, and has nothing there.
        assert (method, "Exact", f"/{elements[0]}/") in known[found].routes
    elif wanted != found:
        # A prefix with nothing but a slash behind it: whoever is asked has nothing there.
        assert end == "/"
        assert all(one.kind == "PathPrefix" for one in together.routes(known) if one.takes(method, path))


def test_a_trigger_is_a_rule_and_a_queue_with_dead_letters() -> None:
    """As often as the Broker tries, then to the function that keeps them; of a batch only what failed comes again."""
    queue = TEMPLATE["Resources"]["OrdersConfirmQueue"]["Properties"]
    sources = dict(events("SQS"))

    assert queue["RedrivePolicy"]["maxReceiveCount"] == 11
    assert queue["VisibilityTimeout"] >= FUNCTIONS["orders-confirm"]["Timeout"]
    assert sources["orders-confirm"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert {one["Queue"]["Fn::GetAtt"][0] for name, one in events("SQS") if name == "deadletters-keep"} == {
        "DeadLetters",
        "DeadlettersKeepQueue",
    }


def test_the_flow_of_an_order_is_whole() -> None:
    """Whoever records events may put them on the bus, and each leads to whom its Trigger names."""
    platform = load(ROOT / "knative/overlays/local")
    emitting = {name for (_, name), one in platform.services.items() if one.sink is not None and name in FUNCTIONS}
    for name in emitting:
        assert FUNCTIONS[name]["Environment"]["Variables"]["K_SINK"] == {"Fn::Sub": "eventbridge://${DefaultBus}"}
        assert FUNCTIONS[name]["Policies"] == [{"EventBridgePutEventsPolicy": {"EventBusName": {"Ref": "DefaultBus"}}}]
    queues = {one["Queue"]["Fn::GetAtt"][0]: name for name, one in events("SQS")}

    assert {"orders-place", "payments-charge", "orders-confirm"} <= emitting
    for one in platform.triggers:
        assert queues[f"{logical(one.name)}Queue"] == one.subscriber.name
        rule = TEMPLATE["Resources"][f"{logical(one.name)}Rule"]["Properties"]
        assert rule["EventPattern"] == sam_events.pattern(one.body["spec"], one.name)


def test_a_schedule_sends_the_event_that_a_pingsource_does() -> None:
    """With an id and a time that EventBridge Scheduler fills in."""
    schedules = dict(events("ScheduleV2"))
    text = schedules["outbox-sweep"]["Input"]
    event = from_json(text.replace("<aws.scheduler.scheduled-time>", "2026-11-25T03:37:00Z").encode())

    assert schedules["outbox-sweep"]["ScheduleExpression"] == "cron(37 3 * * ? *)"
    assert (event.type, event.source) == (
        "dev.knative.sources.ping",
        "/apis/v1/namespaces/shop/pingsources/outbox-sweep",
    )
    assert json.loads(event.data) == {}


@pytest.mark.parametrize(
    ("schedule", "expression"),
    [
        ("*/5 * * * *", "*/5 * * * ? *"),
        ("0 9 * * 1-5", "0 9 ? * MON-FRI *"),
        ("0 9 * * 0,6", "0 9 ? * SUN,SAT *"),
        ("0 9 1 */3 *", "0 9 1 */3 ? *"),
        ("0 9 * * MON", "0 9 ? * MON *"),
    ],
)
def test_a_schedule_means_the_same(schedule: str, expression: str) -> None:
    """EventBridge's week begins on SUN, and one of its two kinds of day is `?`."""
    assert sam_events.cron(schedule, "x") == expression


@pytest.mark.parametrize("schedule", ["0 */5 * * * *", "0 9 1 * 1", "0 9 * * */2"])
def test_a_schedule_that_cannot_be_said_is_refused(schedule: str) -> None:
    """Another one would be worse."""
    with pytest.raises(NotRenderable):
        sam_events.cron(schedule, "x")


ATTRIBUTES = st.dictionaries(st.sampled_from(["type", "source", "subject"]), st.sampled_from(["a", "ab", "ba", ""]))
OPERANDS = st.dictionaries(
    st.sampled_from(["type", "source"]), st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=1
)
DIALECTS = st.one_of(*(OPERANDS.map(lambda one, name=name: {name: one}) for name in ("exact", "prefix", "suffix")))
FILTERS = st.lists(DIALECTS | st.lists(DIALECTS, min_size=1, max_size=2).map(lambda some: {"any": some}), max_size=2)


@given(
    st.fixed_dictionaries({"filters": FILTERS})
    | st.fixed_dictionaries({"filter": st.fixed_dictionaries({"attributes": ATTRIBUTES})}),
    ATTRIBUTES,
)
def test_a_rule_wants_what_its_trigger_wants(spec: dict[str, Any], attributes: dict[str, str]) -> None:
    """Read as EventBridge reads patterns."""
    try:
        pattern = sam_events.pattern(spec, "x")["detail"]
    except NotRenderable:
        return
    event = {"specversion": "1.0", **attributes}

    assert matches(pattern, event) == compile_filters(spec)(event)


def matches(pattern: dict[str, Any], detail: dict[str, str]) -> bool:
    """Amazon EventBridge, "Event pattern operators"."""
    return all(
        any(matches(one, detail) for one in wanted)
        if name == "$or"
        else any(_one(one, detail.get(name)) for one in wanted)
        for name, wanted in pattern.items()
    )


def _one(wanted: Any, value: str | None) -> bool:
    if isinstance(wanted, str):
        return value == wanted
    ((operator, operand),) = wanted.items()
    if operator == "exists":
        return (value is not None) == operand
    return value is not None and (value.startswith(operand) if operator == "prefix" else value.endswith(operand))


def test_secrets_are_references_and_memory_is_the_yamls() -> None:
    """Nothing secret is in the template, and each function has its own area's database only."""
    place = FUNCTIONS["orders-place"]
    variables = place["Environment"]["Variables"]

    assert variables["DATABASE_URL"] == {
        "Fn::Sub": "{{resolve:secretsmanager:${SecretPrefix}orders-database:SecretString:url}}"
    }
    assert (place["MemorySize"], place["Timeout"]) == (256, 29)
    assert FUNCTIONS["outbox-sweep"]["ReservedConcurrentExecutions"] == 1
    for name, one in together.services().items():
        if name in FUNCTIONS and one.database is not None:
            secret = one.database.lower().removesuffix("_url").replace("_", "-")
            assert secret in json.dumps(FUNCTIONS[name]["Environment"]["Variables"]["DATABASE_URL"])


def test_what_takes_events_has_no_address() -> None:
    """Only neighbours have: whom somebody calls over HTTP."""
    addressed = {name for name, one in FUNCTIONS.items() if "FunctionUrlConfig" in one}
    taking = {name for kind in ("SQS", "ScheduleV2") for name, _ in events(kind)}

    assert addressed == {"users-get", "payments-simulate"}
    assert not addressed & taking


def test_nobody_is_told_an_address_that_closes_a_circle() -> None:
    """CloudFormation would refuse all of it."""
    addresses = Addresses()

    assert addresses.tell("a", "b", "B_URL")
    assert addresses.tell("b", "c", "C_URL")
    assert not addresses.tell("c", "a", "A_URL")
    assert not addresses.tell("a", "a", "A_URL")
    assert addresses.left_out == ["A_URL of c: a is told where c is, and not the other way round"]


@pytest.mark.parametrize(
    ("match", "keys"),
    [
        (RouteMatch("GET", "Exact", "/orders"), [("GET", "/orders")]),
        (RouteMatch("GET", "Exact", "/orders/"), [("GET", "/orders/{proxy+}")]),
        (RouteMatch("POST", "PathPrefix", "/a/"), [("POST", "/a"), ("POST", "/a/{id}"), ("POST", "/a/{id}/{proxy+}")]),
        (RouteMatch(None, "PathPrefix", "/a"), [("ANY", "/a"), ("ANY", "/a/{id}"), ("ANY", "/a/{id}/{proxy+}")]),
        (RouteMatch("GET", "PathPrefix", "/orders"), [("GET", "/orders/{id}"), ("GET", "/orders/{id}/{proxy+}")]),
    ],
)
def test_no_route_ends_with_a_slash(match: RouteMatch, keys: list[tuple[str, str]]) -> None:
    """SAM leaves such routes out without a word (aws/serverless-application-model#1949)."""
    assert list(sam.keys(match, {("GET", "/orders")})) == keys


def test_what_cannot_be_said_there_is_refused(tmp_path: Path) -> None:
    """A Trigger whose filter EventBridge has no words for."""
    text = (ROOT / "knative/base/orders/confirm.yaml").read_text()
    broker = (
        (ROOT / "knative/base/broker.yaml")
        .read_text()
        .partition("---")[0]
        .replace("deadletters-keep", "orders-confirm")
    )
    text = re.sub(r"  filter:\n    attributes:\n      type: .*", "  filters: [{cesql: type = 'a'}]", text)
    config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: wake}\ndata: {}\n"
    secrets = "".join(
        f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{url: x}}\n"
        for name in ("orders-database", "cache")
    )
    (tmp_path / "all.yaml").write_text(f"{text}---\n{broker}{config}{secrets}")

    with pytest.raises(NotRenderable, match=r"Trigger orders-confirm: EventBridge has no equivalent of .* cesql"):
        sam.render(collect(tmp_path / "all.yaml"))
