"""orders-place: what is taken, what is refused, and what a repeated request is answered."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from knative.runtime import child
from tests.functions.conftest import Users, bearer

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
ME = bearer("ada")


async def test_an_order_is_accepted_with_its_event(serve: Any) -> None:
    """202, where to look, the order as placed, and orders.placed.v1 in the same transaction."""
    served = await serve("orders.place")
    answer = await served.client.post("/orders/", json=ORDER, headers=ME)
    order = answer.json()
    ((kind, data),) = await served.outbox()

    assert (202, f"/orders/{order['order_id']}") == (answer.status_code, answer.headers["location"])
    assert {**ORDER, "username": "ada", "status": "placed"}.items() >= {
        name: order[name] for name in ("username", "amount", "currency", "status")
    }.items()
    assert kind == "orders.placed.v1"
    assert data == {**ORDER, "order_id": order["order_id"], "username": "ada"}


async def test_without_the_last_slash_it_is_the_same(serve: Any) -> None:
    """No redirect, which a POST would not survive."""
    served = await serve("orders.place")

    assert (await served.client.post("/orders", json=ORDER, headers=ME)).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"amount": NaN, "currency": "EUR", "payment_token": "tok_approve"}', 400, None),
        (b'{"amount": Infinity, "currency": "EUR", "payment_token": "tok_approve"}', 400, None),
        (b'{"amount": 1e309, "currency": "EUR", "payment_token": "tok_approve"}', 400, None),
        (b'{"amount": 1e-999999, "currency": "EUR", "payment_token": "tok_approve"}', 400, None),
        (b'{"amount": 1e2, "currency": "EUR", "payment_token": "tok_approve"}', 422, "body"),
        (b'{"amount": 1E+2, "currency": "EUR", "payment_token": "tok_approve"}', 422, "body"),
        (b'{"amount": true, "currency": "EUR", "payment_token": "tok_approve"}', 422, "amount"),
        (b'{"amount": null, "currency": "EUR", "payment_token": "tok_approve"}', 422, "amount"),
        (b'{"amount": "0", "currency": "EUR", "payment_token": "tok_approve"}', 422, "body"),
        (b'{"amount": "-1", "currency": "EUR", "payment_token": "tok_approve"}', 422, "body"),
        (b'{"amount": "0.001", "currency": "EUR", "payment_token": "tok_approve"}', 422, "body"),
        (b'{"amount": "10.5", "currency": "JPY", "payment_token": "tok_approve"}', 422, "body"),
        (b'{"amount": "10", "currency": "XXX", "payment_token": "tok_approve"}', 422, "body"),
        (b'{"amount": "99999999999999999999", "currency": "EUR", "payment_token": "tok_approve"}', 422, "body"),
        (b'{"amount": "10", "currency": "EUR", "payment_token": "tok approve"}', 422, "payment_token"),
        (b'{"amount": "10", "currency": "EUR", "payment_token": "tok_approve", "status": "confirmed"}', 422, "status"),
        (b'{"amount": "10", "amount": "1", "currency": "EUR", "payment_token": "tok_approve"}', 400, None),
        (b'{"amount": "10", "currency": "EUR"}', 422, "payment_token"),
        (b'{"amount": "10", "currency": "EUR", "payment_token": "\\ud800"}', 400, None),
        (b"[" * 100_000, 413, None),
        (b"[" * 50_000, 400, None),
        (b"", 400, None),
        (b"   ", 400, None),
        (b"[]", 422, "body"),
        (b"null", 422, "body"),
        (b'"text"', 422, "body"),
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b'{"amount": ' + b"9" * 5000 + b', "currency": "EUR", "payment_token": "tok_approve"}', 400, None),
        (b" " * 70_000, 413, None),
    ],
)
async def test_a_wrong_body_is_a_4xx_that_names_the_field(
    serve: Any, body: bytes, status: int, field: str | None
) -> None:
    """Never a 500, never repeated in the answer, and nothing is written."""
    served = await serve("orders.place")
    headers = {**ME, "content-type": "application/json"}
    answer = await served.client.post("/orders/", content=body, headers=headers)
    problem = answer.json()

    assert (status, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert {"type", "title", "status", "detail"} <= set(problem)
    assert field in [error["field"] for error in problem.get("errors", [])] or field is None
    assert await served.sql("SELECT 1 FROM orders") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_another_kind_of_body_is_415(serve: Any, headers: dict[str, str]) -> None:
    """Another type, another character set, an encoding."""
    served = await serve("orders.place")

    assert (await served.client.post("/orders/", content=b"{}", headers={**ME, **headers})).status_code == 415


async def test_a_number_with_the_currency_s_digits_is_taken(serve: Any) -> None:
    """99.5 and 99.50 as JSON numbers are 99.50."""
    served = await serve("orders.place")
    headers = {**ME, "content-type": "application/json"}
    body = b'{"amount": 99.5, "currency": "EUR", "payment_token": "tok_approve"}'

    assert (await served.client.post("/orders/", content=body, headers=headers)).json()["amount"] == "99.50"


async def test_only_an_admin_orders_for_another(serve: Any) -> None:
    """403 to a customer, 202 to an admin."""
    served = await serve("orders.place")
    order = {**ORDER, "username": "eve"}

    assert (await served.client.post("/orders/", json=order, headers=ME)).status_code == 403
    assert (await served.client.post("/orders/", json=order, headers=bearer("root", "admin"))).json()[
        "username"
    ] == "eve"


@pytest.fixture(params=["grpc", "http"])
def users_calls(request: pytest.FixtureRequest) -> dict[str, str]:
    """Each way to ask users."""
    return {"USERS_CALLS": request.param}


async def test_only_who_is_there_buys(serve: Any, buyers: Users, users_calls: dict[str, str]) -> None:
    """403 in words, nothing written: for who never was; for who left, whose token is still valid; also to an admin."""
    bob = f"bob-{users_calls['USERS_CALLS']}"
    buyers.register(bob)
    served = await serve("orders.place", **users_calls)
    before = await served.client.post("/orders/", json=ORDER, headers=bearer(bob))
    buyers.deactivate(bob)
    for headers, body in (
        (bearer(bob), ORDER),
        (bearer("nobody"), ORDER),
        (bearer("root", "admin"), {**ORDER, "username": bob}),
    ):
        answer = await served.client.post("/orders/", json=body, headers=headers)

        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
        assert answer.json()["detail"] == ("There is no such user, or no longer: nothing can be ordered in that name.")
    assert before.status_code == 202
    assert len(await served.sql("SELECT 1 FROM orders")) == 1


async def test_while_users_are_away_nothing_is_placed(serve: Any, users_calls: dict[str, str]) -> None:
    """503 with Retry-After, and no key is used up; the order that was placed before is answered under its key again."""
    served = await serve("orders.place", **users_calls)
    keys = [{**ME, "idempotency-key": one} for one in ("first", "second")]
    first = await served.client.post("/orders/", json=ORDER, headers=keys[0])
    closed = f"http://127.0.0.1:{child.free_port()}"
    served = await serve("orders.place", **users_calls, USERS_RPC_URL=closed, USERS_GET_URL=closed)
    refused = await served.client.post("/orders/", json=ORDER, headers=keys[1])
    other = await served.client.post("/orders/", json={**ORDER, "amount": "1.00"}, headers=keys[0])
    again = await served.client.post("/orders/", json=ORDER, headers=keys[0])

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (other.status_code, again.status_code, again.text) == (422, 202, first.text)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await served.sql("SELECT 1 FROM idempotency")) == len(await served.sql("SELECT 1 FROM orders")) == 1


async def test_users_who_do_not_answer_are_waited_for_no_longer_than_the_call_is(
    serve: Any, users_calls: dict[str, str]
) -> None:
    """503 after the budget, not after whatever users take."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        where = {"USERS_RPC_URL": url, "USERS_GET_URL": url, "USERS_TIMEOUT_SECONDS": "0.2"}
        served = await serve("orders.place", **users_calls, **where)
        began = time.monotonic()
        answer = await served.client.post("/orders/", json=ORDER, headers=ME)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert 0.2 <= time.monotonic() - began < 1


async def test_another_way_to_ask_users_is_none(serve: Any) -> None:
    """The function does not start, and says which there are."""
    with pytest.raises(ValueError, match="grpc and http"):
        await serve("orders.place", USERS_CALLS="carrier pigeon")


async def test_the_same_key_twice_is_one_order(serve: Any) -> None:
    """The first answer again, marked as such; bare and quoted keys are the same."""
    served = await serve("orders.place")
    first = await served.client.post("/orders/", json=ORDER, headers={**ME, "idempotency-key": "k 1".replace(" ", "")})
    again = await served.client.post("/orders/", json=ORDER, headers={**ME, "idempotency-key": '"k1"'})

    assert (first.json(), 202, "true") == (again.json(), again.status_code, again.headers["idempotency-replayed"])
    assert first.headers["location"] == again.headers["location"]
    assert len(await served.sql("SELECT 1 FROM orders")) == 1


async def test_a_hundred_at_once_under_one_key_are_one_order(serve: Any) -> None:
    """One order, one event, equal answers."""
    served = await serve("orders.place")
    headers = {**ME, "idempotency-key": "k1"}
    answers = await asyncio.gather(*(served.client.post("/orders/", json=ORDER, headers=headers) for _ in range(100)))

    assert {answer.status_code for answer in answers} <= {202, 409, 503}
    assert len({answer.json()["order_id"] for answer in answers if answer.status_code == 202}) == 1
    assert len(await served.outbox()) == 1


async def test_another_request_under_the_same_key_is_refused(serve: Any) -> None:
    """422; somebody else's key of the same text is their own."""
    served = await serve("orders.place")
    key = {"idempotency-key": "k1"}
    await served.client.post("/orders/", json=ORDER, headers={**ME, **key})
    other = await served.client.post("/orders/", json={**ORDER, "amount": "1.00"}, headers={**ME, **key})
    theirs = await served.client.post("/orders/", json=ORDER, headers={**bearer("eve"), **key})

    assert (other.status_code, theirs.status_code) == (422, 202)
    assert "idempotency-replayed" not in theirs.headers


async def test_while_the_first_still_runs_the_second_is_told_to_wait(serve: Any) -> None:
    """409 with Retry-After after two seconds of waiting for the key."""
    served = await serve("orders.place")
    first = await served.client.post("/orders/", json=ORDER, headers={**ME, "idempotency-key": "other"})
    import asyncpg  # noqa: PLC0415

    holder = await asyncpg.connect(served.database_url)
    async with holder.transaction():
        await holder.execute(
            "INSERT INTO idempotency (subject, operation, key, fingerprint) VALUES ('ada', 'orders-place', 'held', '')"
        )
        answer = await served.client.post("/orders/", json=ORDER, headers={**ME, "idempotency-key": "held"})
    await holder.close()

    assert first.status_code == 202
    assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e9".encode().decode("latin-1"), '"open'])
async def test_a_key_that_is_none_is_refused(serve: Any, key: str) -> None:
    """400."""
    served = await serve("orders.place")
    headers = {**ME, "idempotency-key": key.encode("latin-1")}

    assert (await served.client.post("/orders/", json=ORDER, headers=headers)).status_code == 400


async def test_without_a_token_nothing_is_parsed_further(serve: Any) -> None:
    """401."""
    served = await serve("orders.place")

    assert (await served.client.post("/orders/", json=ORDER)).status_code == 401


async def test_a_database_that_is_away_is_a_503(serve: Any) -> None:
    """With Retry-After; the function itself starts and answers."""
    served = await serve("orders.place", DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    answer = await served.client.post("/orders/", json=ORDER, headers=ME)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (await served.client.get("/health/readiness")).status_code == 200
