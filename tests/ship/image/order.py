"""A customer's order, by the functions' own addresses, and a request during which its function is told to end."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from typing import Any

import httpx

from tests.ship.image.running import Running
from tests.ship.image.shop import Shop, ShopFailed

# Who takes part in an order, in the order in which they are asked.
CAST = (
    "broker",
    "users-register",
    "users-sign-in",
    "users-rpc",
    "orders-place",
    "payments-charge",
    "payments-simulate",
    "orders-confirm",
    "orders-get",
    "payments-get",
)
_PATIENCE_SECONDS = 30.0
_CUSTOMER = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
_ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


def order(shop: Shop) -> Mapping[str, Any]:
    """Register, sign in, place, wait until it is paid and confirmed; answers the payment.

    Raises:
        ShopFailed: a step was answered otherwise.
    """
    with httpx.Client(trust_env=False, timeout=30) as client:
        _expect(201, client.post(f"{shop.url('users-register')}/users/", json=_CUSTOMER))
        form = {"grant_type": "password", "username": "ada", "password": _CUSTOMER["password"]}
        token = _expect(200, client.post(f"{shop.url('users-sign-in')}/tokens", data=form))["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        order_id = _expect(202, client.post(f"{shop.url('orders-place')}/orders/", json=_ORDER))["order_id"]
        status, deadline = "placed", time.monotonic() + _PATIENCE_SECONDS
        while status == "placed" and time.monotonic() < deadline:
            time.sleep(0.02)
            status = _expect(200, client.get(f"{shop.url('orders-get')}/orders/{order_id}"))["status"]
        if status != "confirmed":
            raise ShopFailed(f"the order is {status}")
        payment = _expect(200, client.get(f"{shop.url('payments-get')}/payments/{order_id}"))
    if (payment["captured"], payment["refunded"]) != ("99.50", "0.00"):
        raise ShopFailed(f"the payment is {payment}")
    return payment


def _expect(status: int, answer: httpx.Response) -> Any:
    if answer.status_code != status:
        raise ShopFailed(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    return answer.json()


def end_amid_a_request(shop: Shop, running: Running, grace_seconds: float) -> float:
    """SIGTERM users-register between the head and the body of a request; answers how long it took to end.

    Raises:
        ShopFailed: the request was not answered, or it took longer than its grace.
    """
    body = json.dumps({**_CUSTOMER, "username": "grace", "email": "grace@example.com"}).encode()
    address = ("127.0.0.1", shop.cluster.deployments()["users-register"].port)
    head = (
        f"POST /users/ HTTP/1.1\r\nhost: {address[0]}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(address, timeout=grace_seconds) as connection:
        connection.sendall(head.encode())
        # It says so when the function asks for the body, so that the request is surely under way.
        if not connection.recv(4096).startswith(b"HTTP/1.1 100"):
            raise ShopFailed("users-register does not ask for the body")
        began = time.monotonic()
        running.terminate()
        _wait_until_closed(address, began + grace_seconds)
        connection.sendall(body)
        answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 201"):
        raise ShopFailed(f"the request that was under way was answered {answer[:80]!r}")
    code = running.ended(began + grace_seconds - time.monotonic())
    if code != 0:
        raise ShopFailed(f"users-register ended with {code}")
    return time.monotonic() - began


def _wait_until_closed(address: tuple[str, int], deadline: float) -> None:
    """Until it takes no new connection: it has heard."""
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            socket.create_connection(address, timeout=1).close()
            time.sleep(0.01)
        raise ShopFailed("users-register still takes connections after SIGTERM")
