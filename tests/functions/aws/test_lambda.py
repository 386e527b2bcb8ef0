"""Functions under AWS' own runtime interface client, called as by gateways, load balancers and queues."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import asyncpg
import pytest

from eventing.event import Event, new_id, to_json
from functions.events import PaymentsCaptured
from knative.runtime import child
from tests.functions.aws.conftest import settings
from tests.functions.aws.runtime_api import FunctionError, Lambda, running, sample
from tests.functions.conftest import Users, bearer, event_of

HTTP = ("api_gateway_v1", "api_gateway_v2", "function_url", "alb", "alb_multi_value")
ORDER = b'{"amount":"99.50","currency":"EUR","payment_token":"tok_approve"}'
ME = bearer("ada")["authorization"]


def called(gateway: str, body: bytes = ORDER, **values: str) -> Any:
    """The recorded event of a gateway; what it sends in Base64 is."""
    values = {"authorization": ME, "key": new_id(), "body": body.decode(), **values}
    event = sample(gateway, **values)
    if event["isBase64Encoded"]:
        event["body"] = base64.b64encode(body).decode()
    return event


def read(answer: Any) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of an answer, as its caller would see them."""
    several = {name: ", ".join(values) for name, values in (answer.get("multiValueHeaders") or {}).items()}
    body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"]
    return answer["statusCode"], {**several, **(answer.get("headers") or {})}, json.loads(body)


def placed(place: Lambda) -> str:
    """A new order's id."""
    return str(read(place.invoke(called("function_url")))[2]["order_id"])


def captured(order_id: str, **changed: Any) -> Event:
    """The event that its payment was captured."""
    return event_of(PaymentsCaptured(order_id=order_id, amount="99.50", currency="EUR"), **changed)


def of_queue(*bodies: str, **attributes: str) -> Any:
    """A batch of messages with these bodies, whose ids are their places."""
    records = [sample("sqs_record", id=str(place), event=body) for place, body in enumerate(bodies)]
    for record in records:
        record["attributes"] |= attributes
    return {"Records": records}


def text(event: Event) -> str:
    """A structured event."""
    return to_json(event).decode()


def rows(url: str, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
    """Look into a database."""

    async def fetch() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def status(url: str, order_id: str) -> str:
    """An order's."""
    ((found,),) = rows(url, "SELECT status FROM orders WHERE id = $1::uuid", order_id)
    return str(found)


@pytest.mark.parametrize("gateway", HTTP)
def test_an_order_is_placed_through_every_gateway(place: Lambda, gateway: str) -> None:
    """202 and where to look, whatever shape the request came in."""
    code, headers, order = read(place.invoke(called(gateway)))

    assert (202, f"/orders/{order['order_id']}") == (code, headers["location"])
    assert (order["username"], order["status"]) == ("ada", "placed")


def test_a_key_is_one_order_by_every_gateway(place: Lambda) -> None:
    """Whichever repeats the request."""
    key = new_id()
    answers = [read(place.invoke(called(gateway, key=key))) for gateway in HTTP]

    assert len({order["order_id"] for _, _, order in answers}) == 1


@pytest.mark.parametrize("gateway", HTTP)
def test_a_refusal_is_a_problem_document_in_plain_text(place: Lambda, gateway: str) -> None:
    """A REST API would hand Base64 to the caller."""
    answer = place.invoke(called(gateway, ORDER.replace(b"99.50", b"-1")))
    code, headers, problem = read(answer)

    assert (code, headers["content-type"], answer["isBase64Encoded"]) == (422, "application/problem+json", False)
    assert problem["status"] == 422


@pytest.mark.parametrize("gateway", ["api_gateway_v1", "alb_multi_value"])
def test_a_header_that_came_twice_is_refused(place: Lambda, gateway: str) -> None:
    """By the gateways that tell; the others have joined it to one by then."""
    event = called(gateway)
    name = next(one for one in event["multiValueHeaders"] if one.lower() == "authorization")
    event["multiValueHeaders"][name] = [ME, ME]
    code, _, problem = read(place.invoke(event))

    assert (code, problem["detail"]) == (400, "The header authorization came twice.")


def asked(gateway: str, path: str, query: str) -> Any:
    """A GET, as a gateway sends it on: a load balancer leaves a query encoded, API Gateway (v1) decodes it."""
    event = called(gateway, b"")
    if "http" in event["requestContext"]:
        stage = event["requestContext"]["stage"]
        event["rawPath"] = path if stage == "$default" else f"/{stage}{path}"
        event["requestContext"]["http"] |= {"method": "GET", "path": event["rawPath"]}
        return event | {"rawQueryString": query}
    pairs = [pair.partition("=")[::2] for pair in query.split("&")] if gateway != "api_gateway_v1" else parse_qsl(query)
    several: dict[str, list[str]] = {}
    for name, value in pairs:
        several.setdefault(name, []).append(value)
    single = {name: values[-1] for name, values in several.items()}
    changed = {"queryStringParameters": single, "multiValueQueryStringParameters": several}
    return event | {"httpMethod": "GET", "path": path} | {name: changed[name] for name in changed if name in event}


def test_a_query_arrives_as_it_was_sent(tmp_path: Path, place: Lambda, orders_url: str, users: Users) -> None:
    """By every gateway; what is wrong with it is named."""
    orders = [placed(place) for _ in range(2)]
    with running(tmp_path, **settings("orders-list", orders_url, users)) as listing:
        for gateway in HTTP:
            code, headers, page = read(listing.invoke(asked(gateway, "/orders/", "limit=%31&username=ada")))
            assert (code, [one["order_id"] for one in page["items"]]) == (200, orders[-1:]), gateway
            assert headers["link"] == f'</orders/?username=ada&after={orders[-1]}&limit=1>; rel="next"'
            code, _, problem = read(listing.invoke(asked(gateway, "/orders/", "username=%C3%A4%20%26")))
            assert (code, [one["field"] for one in problem["errors"]]) == (422, ["username"]), gateway


def test_the_app_is_started_once_an_environment(tmp_path: Path, orders_url: str, users: Users) -> None:
    """The first call finds it started, the second one warm."""
    with running(tmp_path, **settings("orders-place", orders_url, users)) as place:
        starts = [read(place.invoke(called("alb")))[1]["server-timing"].partition(";dur")[0] for _ in range(3)]

    assert starts == ["start;desc=cold", "start;desc=warm", "start;desc=warm"]


def test_nothing_works_on_when_the_time_is_over(place: Lambda) -> None:
    """The invocation's own deadline ends a call, whatever its caller says; the answer is ours and not Lambda's."""
    event = called("function_url")
    event["headers"]["x-envoy-expected-rq-timeout-ms"] = "60000"
    code, _, problem = read(place.invoke(event, seconds=0.4))

    assert (code, problem["title"]) == (504, "Gateway Timeout")


def test_a_transaction_that_the_time_cut_short_keeps_no_lock(place: Lambda, confirm: Lambda, orders_url: str) -> None:
    """After its answer an environment is frozen; whoever comes next for the same order finds it free."""
    order_id = placed(place)

    async def behind_somebody() -> tuple[Any, int]:
        connection = await asyncpg.connect(orders_url)
        try:
            async with connection.transaction():
                await connection.execute("SELECT FROM orders WHERE id = $1 FOR UPDATE", order_id)
                batch = of_queue(text(captured(order_id)))
                answer = await asyncio.to_thread(confirm.invoke, batch, seconds=1.5)
            busy = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'wake' AND state <> 'idle'"
            )
            return answer, await connection.fetchval(busy)
        finally:
            await connection.close()

    assert asyncio.run(behind_somebody()) == ({"batchItemFailures": [{"itemIdentifier": "0"}]}, 0)


def test_eventbridge_confirms_an_order(place: Lambda, confirm: Lambda, orders_url: str) -> None:
    """The event in its detail is handled once, however often it comes."""
    order_id = placed(place)
    envelope = sample("eventbridge", event=json.loads(text(captured(order_id))))
    answers = [confirm.invoke(envelope) for _ in range(2)]

    assert answers == [None, None]
    assert status(orders_url, order_id) == "confirmed"
    events = (
        "SELECT count(*) FROM outbox WHERE attributes->>'type' = 'orders.confirmed.v1' AND attributes->>'subject' = $1"
    )
    assert rows(orders_url, events, order_id) == [(1,)]


@pytest.mark.parametrize("envelope", ["none", "eventbridge", "sns_in_sqs", "eventbridge in sns_in_sqs"])
def test_a_message_of_a_queue_confirms_an_order(place: Lambda, confirm: Lambda, orders_url: str, envelope: str) -> None:
    """Bare, or as EventBridge or SNS put it there."""
    order_id = placed(place)
    body = text(captured(order_id))
    if "eventbridge" in envelope:
        body = json.dumps(sample("eventbridge", event=json.loads(body)))
    if "sns_in_sqs" in envelope:
        body = json.dumps(sample("sns_in_sqs", event=body))

    assert confirm.invoke(of_queue(body)) == {"batchItemFailures": []}
    assert status(orders_url, order_id) == "confirmed"


def test_sns_confirms_an_order(place: Lambda, confirm: Lambda, orders_url: str) -> None:
    """A topic that invokes the function itself."""
    order_id = placed(place)

    assert confirm.invoke(sample("sns", event=text(captured(order_id)))) is None
    assert status(orders_url, order_id) == "confirmed"


def test_of_a_batch_only_what_may_yet_succeed_comes_again(place: Lambda, confirm: Lambda, orders_url: str) -> None:
    """Handled, repeated, and refused for ever (which is recorded) are done with; what is no event ends as a letter."""
    order_id = placed(place)
    good = text(captured(order_id))
    refused = captured(order_id, data=b'{"order_id": 7}')
    nobodys = captured("01a20b76-4eb5-7c00-90cb-bcd920daa209")
    answer = confirm.invoke(of_queue(good, good, text(refused), text(nobodys), "no event", '{"specversion":"1.0"}'))

    assert answer == {"batchItemFailures": [{"itemIdentifier": "4"}, {"itemIdentifier": "5"}]}
    assert status(orders_url, order_id) == "confirmed"
    told = rows(
        orders_url, "SELECT attributes->>'subject' FROM outbox WHERE attributes->>'type' = 'orders.event-refused.v1'"
    )
    assert {(refused.id,), (nobodys.id,)} <= set(told)
    reasons = [line["reason"] for line in confirm.lines() if line["event"] == "event_not_handled"]
    assert [reason.partition(":")[0] for reason in reasons[-2:]] == [
        "this is not JSON",
        "this CloudEvent has no id and no source and no type",
    ]


def test_while_the_database_is_away_everything_comes_again(tmp_path: Path, users: Users) -> None:
    """From a queue and from EventBridge; HTTP callers are told when."""
    away = f"postgresql://wake:nobody-knows@127.0.0.1:{child.free_port()}/wake"
    event = captured("01a20b76-4eb5-7c00-90cb-bcd920daa209")
    with running(tmp_path, **settings("orders-confirm", away, users)) as confirm:
        answer = confirm.invoke(of_queue(text(event), text(event)))
        with pytest.raises(FunctionError, match="NotHandled: orders-confirm answered 503: The database"):
            confirm.invoke(sample("eventbridge", event=json.loads(text(event))))
    with running(tmp_path, **settings("orders-place", away, users)) as place:
        code, headers, _ = read(place.invoke(called("api_gateway_v2")))

    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}, {"itemIdentifier": "1"}]}
    assert (code, headers["retry-after"]) == (503, "1")


def test_in_a_fifo_queue_nothing_overtakes_what_failed(confirm: Lambda) -> None:
    """What is behind it in its group comes again with it."""
    good = text(captured("01a20b76-4eb5-7c00-90cb-bcd920daa209"))
    batch = of_queue("no event", good, good, MessageGroupId="one")
    batch["Records"][2]["attributes"]["MessageGroupId"] = "another"

    assert confirm.invoke(batch) == {"batchItemFailures": [{"itemIdentifier": "0"}, {"itemIdentifier": "1"}]}


def test_connections_that_broke_while_it_was_frozen_are_not_used(
    place: Lambda, confirm: Lambda, orders_url: str
) -> None:
    """An environment is stopped between calls, for minutes; its connections may be gone by then."""
    bodies = [text(captured(placed(place))) for _ in range(3)]
    assert confirm.invoke(of_queue(bodies[0])) == {"batchItemFailures": []}
    confirm.process.send_signal(signal.SIGSTOP)
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 20
    while rows(orders_url, end):
        assert time.monotonic() < deadline
    confirm.process.send_signal(signal.SIGCONT)

    assert [confirm.invoke(of_queue(body)) for body in bodies[1:]] == [{"batchItemFailures": []}] * 2


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"FUNCTION": "orders-plcae"},
            "ValueError: there is no function 'orders-plcae'; there are ",
        ),
        ({"FUNCTION": "users-rpc"}, "ValueError: users-rpc answers gRPC, which is not carried here"),
        ({"FUNCTION": "orders-get", "TOKEN_SIGNING_KEY": "change-me"}, "KnownSecret: TOKEN_SIGNING_KEY"),
    ],
)
def test_what_cannot_start_says_why_before_any_call(tmp_path: Path, variables: dict[str, str], reason: str) -> None:
    """As an error of the init phase."""
    with running(tmp_path, **variables) as failed, pytest.raises(FunctionError) as caught:
        failed.answer()

    assert str(caught.value).startswith(reason)


def test_what_is_no_invocation_says_what_would_be(confirm: Lambda) -> None:
    """Somebody tries it from the console."""
    with pytest.raises(FunctionError, match=r"UnknownInvocation: .*and no CloudEvent; it has key1, key2"):
        confirm.invoke({"key1": "value1", "key2": "value2"})
