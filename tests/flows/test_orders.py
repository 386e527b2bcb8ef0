"""What becomes of an order, from the customer's side, on the whole platform."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import pytest

from tests.flows.conftest import Customer, Installation, wait_until


@pytest.mark.parametrize("token", ["tok_approve", "tok_slow_1", "tok_timeout_captured", "tok_500_captured"])
def test_what_was_captured_is_confirmed(customer: Customer, token: str) -> None:
    """Also where the card processor captured and then fell silent, or answered with an error: once, not twice."""
    order_id = customer.place(token)

    assert customer.ends(order_id) == "confirmed"
    payment = customer.payment(order_id)
    assert (payment["state"], payment["captured"], payment["refunded"]) == ("captured", "99.50", "0.00")


def test_what_was_declined_is_rejected(customer: Customer) -> None:
    """Nothing was taken."""
    order_id = customer.place("tok_decline")

    assert customer.ends(order_id) == "rejected"
    assert Decimal(customer.payment(order_id)["captured"]) == 0


def test_a_cancelled_order_is_refunded(customer: Customer) -> None:
    """All that was captured."""
    order_id = customer.place()
    assert customer.ends(order_id) == "confirmed"

    assert customer.http.post(f"/orders/{order_id}/cancel").status_code == 200
    assert customer.order(order_id)["status"] == "cancelled"
    wait_until(lambda: customer.payment(order_id)["refunded"] == "99.50")


def test_of_an_order_cancelled_while_it_is_charged_no_money_is_kept(customer: Customer) -> None:
    """Whoever wins the race: voided, or captured and given back."""
    order_id = customer.place("tok_slow_1")
    assert customer.http.post(f"/orders/{order_id}/cancel").status_code == 200

    wait_until(lambda: customer.payment(order_id).get("state") in {"voided", "refunded"})
    payment = customer.payment(order_id)
    assert payment["captured"] == payment["refunded"]
    assert customer.order(order_id)["status"] == "cancelled"


def test_the_same_key_is_one_order(customer: Customer) -> None:
    """A hundred copies at once: one order, one charge, a hundred equal answers, if not at once, then asked again."""
    key = secrets.token_hex(8)
    body = {"amount": "10.00", "currency": "EUR", "payment_token": "tok_approve"}

    def place(_: int) -> httpx.Response:
        with httpx.Client(base_url=customer.http.base_url, headers=customer.http.headers, timeout=30) as http:
            while (answer := http.post("/orders/", json=body, headers={"idempotency-key": key})).status_code == 409:
                assert answer.headers["retry-after"]
            return answer

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(place, range(100)))

    assert {one.status_code for one in answers} == {202}
    assert len({one.text for one in answers}) == 1
    assert sum("idempotency-replayed" in one.headers for one in answers) == 99
    order_id = answers[0].json()["order_id"]
    assert [one["order_id"] for one in customer.http.get("/orders/").json()["items"]] == [order_id]
    assert customer.ends(order_id) == "confirmed"
    assert [one["what"] for one in customer.payment(order_id)["attempts"]] == ["authorise", "capture"]


def test_somebody_elses_order_is_not_there(customer: Customer, running: Installation) -> None:
    """404, the very answer that an order which never was gets; the payment and the cancelling too."""
    order_id = customer.place()
    never = "01900000-0000-7000-8000-000000000000"
    with Customer(running) as other:
        for method, path in (("GET", "/orders/{}"), ("POST", "/orders/{}/cancel"), ("GET", "/payments/{}")):
            his, nobodys = (other.http.request(method, path.format(one)) for one in (order_id, never))
            assert (his.status_code, nobodys.status_code) == (404, 404)
            assert his.json()["detail"].replace(order_id, never) == nobodys.json()["detail"]


def test_one_name_is_taken_once(running: Installation) -> None:
    """Ten register it at once: one 201, nine 409."""
    name = f"bob-{secrets.token_hex(4)}"
    body = {"username": name, "email": "bob@example.com", "password": "correct horse"}
    with ThreadPoolExecutor(10) as pool:
        codes = list(
            pool.map(
                lambda _: httpx.post(f"http://127.0.0.1:{running.port}/users/", json=body, timeout=30).status_code,
                range(10),
            )
        )

    assert sorted(codes) == [201] + [409] * 9


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"amount": NaN, "currency": "EUR", "payment_token": "t"}', "application/json", 400),
        (b'{"amount": "1.00", "amount": "2.00", "currency": "EUR"}', "application/json", 400),
        (b'{"amount": true, "currency": "EUR", "payment_token": "t"}', "application/json", 422),
        (b'{"amount": 1e400, "currency": "EUR", "payment_token": "t"}', "application/json", 400),
        (b'{"amount": "1.00", "currency": "EUR", "payment_token": "t", "x": 1}', "application/json", 422),
        (b'{"amount": "-1.00", "currency": "EUR", "payment_token": "t"}', "application/json", 422),
        (b"[" * 50_000 + b"]" * 10, "application/json", 400),
        (b"", "application/json", 400),
        (b"amount=1", "application/x-www-form-urlencoded", 415),
        (b'{"a": "' + b"x" * 100_000 + b'"}', "application/json", 413),
    ],
)
def test_a_wrong_body_is_a_problem_document(customer: Customer, body: bytes, content_type: str, status: int) -> None:
    """By a status of its own kind, through the gateway."""
    answer = customer.http.post("/orders/", content=body, headers={"content-type": content_type})

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
