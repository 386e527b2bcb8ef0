"""`wake demo`: a customer's first minute, with the time of every step."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from knative.runtime.api import Answer, ApiFailed, Client
from knative.runtime.journal import detail, happenings

_FINAL = {"confirmed", "rejected", "cancelled", "expired"}
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.005


class Steps(Client):
    """A client whose calls are printed."""

    def step(self, expected: int, method: str, path: str, body: Mapping[str, Any] | str | None = None) -> Answer:
        """A call that is printed, and must be answered with this status."""
        answer = self.call(method, path, body)
        print(f"  {method:<5}{path:<46}{answer.status}  {answer.start:<5}{answer.duration_ms:8.1f} ms")
        if answer.status != expected:
            raise ApiFailed(f"{method} {path} was answered {answer.status}: {answer.body.get('detail', answer.body)}")
        return answer


def demo(url: str, journal: Path | None) -> None:
    """Register, sign in, then order twice: with everything asleep that an order needs, and again at once.

    Raises:
        ApiFailed: a step failed.
    """
    client = Steps(url)
    username, password = f"ada-{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    print(f"A new customer, {username}, at {url}:")
    client.step(201, "POST", "/users/", {"username": username, "email": "ada@example.com", "password": password})
    form = urlencode({"grant_type": "password", "username": username, "password": password})
    client.token = client.step(200, "POST", "/tokens", form).body["access_token"]
    for what in ("First order", "Second order, at once"):
        print(f"\n{what}:")
        _order(client, journal)


def _order(client: Steps, journal: Path | None) -> None:
    began = time.perf_counter()
    placed_at = time.time()
    order = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
    answer = client.step(202, "POST", "/orders/", order)
    order_id = answer.body["order_id"]
    path = f"/orders/{order_id}"
    last = client.step(200, "GET", path)
    while last.body["status"] not in _FINAL and time.perf_counter() - began < _PATIENCE_SECONDS:
        time.sleep(_POLL_SECONDS)
        last = client.call("GET", path)
    total_ms = (time.perf_counter() - began) * 1000
    if journal is not None:
        for happening in happenings(journal, order_id):
            at = (datetime.fromisoformat(str(happening["time"])).timestamp() - placed_at) * 1000
            who = f" by {happening['trigger']}" if "trigger" in happening else ""
            print(f"  {at:+8.0f} ms  {happening['type']} {happening['kind']}{who}  {detail(happening)}".rstrip())
    if last.body["status"] != "confirmed":
        raise ApiFailed(
            f"the order is {last.body['status']} after {total_ms / 1000:.1f} s: `wake events -s {order_id}`"
        )
    print(f'  "status": "confirmed" {total_ms:.0f} ms after the POST')
