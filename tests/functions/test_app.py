"""What every function does the same way."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import pytest
from fastapi.routing import APIRoute

from functions.app import Operation
from functions.identity import admin, caller
from functions.operations import known, load
from tests.functions.conftest import bearer
from tests.servers import quiet

# Orders are placed here, and orders asks users about the buyer.
pytestmark = pytest.mark.usefixtures("buyers")

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
ME = bearer("ada")


async def test_health_is_about_the_process(serve: Any) -> None:
    """Alive and ready while started; after its end not ready."""
    served = await serve("orders.place")

    assert [(await served.client.get(f"/health/{what}")).status_code for what in ("liveness", "readiness")] == [
        200,
        200,
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/orders/", 405), ("GET", "/docs", 404)]
)
async def test_what_is_not_there_is_a_problem_document(serve: Any, method: str, path: str, status: int) -> None:
    """404 and 405 too."""
    served = await serve("orders.place")
    answer = await served.client.request(method, path)

    assert (status, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert answer.json()["status"] == status


@pytest.mark.parametrize("name", [one for one in known() if isinstance(load(one), Operation)])
def test_no_call_goes_through_a_thread(name: str) -> None:
    """Every handler and dependency is async: FastAPI gives any other to a thread, and that costs more than it does."""
    for route in load(name).routes:
        waiting = [route.dependant] if isinstance(route, APIRoute) else []
        while waiting:
            one = waiting.pop()
            waiting += one.dependencies
            assert inspect.iscoroutinefunction(one.call), f"{name}: {one.call}"


@pytest.mark.parametrize("name", [one for one in known() if isinstance(load(one), Operation)])
def test_who_calls_is_asked_before_what_is_wanted(name: str) -> None:
    """Whoever may not do this is told so, and not what is wrong with the body."""
    for route in load(name).routes:
        asked = [one.call for one in route.dependant.dependencies] if isinstance(route, APIRoute) else []
        bodies = [at for at, call in enumerate(asked) if hasattr(call, "model")]
        callers = [at for at, call in enumerate(asked) if call in {caller, admin}]

        assert max(callers, default=-1) < min(bodies, default=len(asked))


async def test_a_bug_is_a_500_that_shows_nothing(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem document without the exception."""
    served = await serve("orders.place")
    monkeypatch.setattr("functions.orders.orders.insert", None)
    answer = await served.client.post("/orders/", json=ORDER, headers=ME)

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "NoneType" not in answer.text


async def test_the_request_id_is_kept_if_it_is_sane(serve: Any) -> None:
    """Else a new one is made; it is answered, and is the correlation id of the events."""
    served = await serve("orders.place")
    kept = await served.client.post("/orders/", json=ORDER, headers={**ME, "x-request-id": "r-1"})
    made = await served.client.post("/orders/", json=ORDER, headers={**ME, "x-request-id": "r 1\t"})
    rows = await served.sql("SELECT attributes->>'correlationid' AS id FROM outbox ORDER BY seq")

    assert kept.headers["x-request-id"] == "r-1"
    assert made.headers["x-request-id"] != "r 1\t"
    assert [row["id"] for row in rows] == ["r-1", made.headers["x-request-id"]]


@pytest.mark.parametrize("name", ["authorization", "idempotency-key", "content-type"])
async def test_a_header_that_decides_something_may_come_once(serve: Any, name: str) -> None:
    """400 when it comes twice."""
    served = await serve("orders.place")
    headers = [("authorization", ME["authorization"]), ("content-type", "application/json"), ("idempotency-key", "k")]
    answer = await served.client.post("/orders/", content=json.dumps(ORDER), headers=[*headers, (name, "other")])

    assert (400, f"The header {name} came twice.") == (answer.status_code, answer.json()["detail"])


async def test_events_are_published_right_after_the_answer(serve: Any) -> None:
    """To K_SINK, in binary mode, and marked; while the sink is away they wait in the outbox."""
    taken: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(quiet(take), "127.0.0.1", 0) as sink:
        port = sink.sockets[0].getsockname()[1]
        served = await serve("orders.place", K_SINK=f"http://127.0.0.1:{port}/")
        answer = await served.client.post("/orders/", json=ORDER, headers=ME)
    away = await served.client.post("/orders/", json=ORDER, headers=ME)
    rows = await served.sql("SELECT published_at IS NOT NULL AS published FROM outbox ORDER BY seq")

    assert (answer.status_code, away.status_code) == (202, 202)
    assert "ce-type: orders.placed.v1\r\n" in taken[0]
    assert [row["published"] for row in rows] == [True, False]


async def test_a_body_without_a_length_is_limited_too(serve: Any) -> None:
    """413 as a problem document for chunks that add up."""
    served = await serve("orders.place")

    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1024

    answer = await served.client.post("/orders/", content=chunks(), headers={**ME, "content-type": "application/json"})

    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


async def test_the_openapi_document_shows_the_body(serve: Any) -> None:
    """Bodies are read by our own parser, and documented all the same."""
    served = await serve("orders.place")
    document = (await served.client.get("/openapi.json")).json()
    body = document["paths"]["/orders/"]["post"]["requestBody"]["content"]["application/json"]["schema"]

    assert set(body["properties"]) == {"username", "amount", "currency", "payment_token"}


async def test_logs_hold_no_secret(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No token, no password, no address: fields of the call only."""
    served = await serve("users.register")
    with caplog.at_level("INFO"):
        await served.client.post(
            "/users/", json={"username": "ada", "email": "canary@example.com", "password": "canary-password"}
        )

    assert "canary" not in json.dumps([record.__dict__ for record in caplog.records], default=str)
