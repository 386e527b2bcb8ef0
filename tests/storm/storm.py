"""Orders through the running platform while its processes are killed at random; then rest, and the books."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.flows.conftest import Customer, Installation

_PARTS = ("broker", "nats-server", "rabbitmq-server", "envoy", "forkserver")
_CARDS = {
    "tok_approve": 60,
    "tok_decline": 10,
    "tok_500_captured": 8,
    "tok_slow_1": 6,
    "tok_webhook": 6,
    "tok_webhook_twice": 4,
    "tok_webhook_early": 2,
    "tok_timeout_captured": 2,
    "tok_webhook_badsig": 1,
    "tok_expires": 1,
}
# What the PingSources would set off within five minutes is set off at once, so that nobody has to wait for it.
_TIMERS = ("outbox-relay", "payments-settle")
_REST_SECONDS = 240.0


@dataclass
class Outcome:
    """What a storm came to."""

    accepted: dict[str, str] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0
    retried: int = 0
    rest_seconds: float = 0.0
    books: str = ""
    balanced: bool = False


def run(installation: Installation, *, orders: int, seconds: float, kills: int, seed: int) -> Outcome:
    """Place so many orders within so many seconds, with so many kills; then wait for rest and check the books."""
    outcome = Outcome()
    chance = random.Random(seed)
    installation.up()
    buyers = [Customer(installation) for _ in range(4)]
    over = threading.Event()
    killer = threading.Thread(target=_kill, args=(installation, outcome, random.Random(seed + 1), kills, seconds, over))
    killer.start()
    began = time.monotonic()
    plans = [(number, chance.choices(list(_CARDS), _CARDS.values())[0], chance.random()) for number in range(orders)]

    def buy(plan: tuple[int, str, float]) -> None:
        number, card, luck = plan
        # Spread over the storm, so that the last orders meet the last kills.
        time.sleep(max(0.0, began + seconds * number / orders - time.monotonic()))
        buyer = buyers[number % len(buyers)]
        order_id = _place(buyer, card, outcome)
        if luck < 0.15:
            time.sleep(luck * 4)
            _again(lambda: buyer.http.post(f"/orders/{order_id}/cancel"), {200, 409}, outcome)
            outcome.cancelled += 1

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(buy, plans))
    over.set()
    killer.join()
    _rest(installation, outcome)
    for buyer in buyers:
        _count(buyer, outcome)
        buyer.http.close()
    return outcome


def _place(buyer: Customer, card: str, outcome: Outcome) -> str:
    """Ask again under the same key until it is accepted, as a careful client does."""
    body = {"amount": "10.00", "currency": "EUR", "payment_token": card}
    headers = {"idempotency-key": secrets.token_hex(8)}
    answer = _again(lambda: buyer.http.post("/orders/", json=body, headers=headers), {202}, outcome)
    order_id = str(answer.json()["order_id"])
    outcome.accepted[order_id] = card
    return order_id


def _again(call: Callable[[], httpx.Response], wanted: set[int], outcome: Outcome) -> httpx.Response:
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = call()
            if answer.status_code in wanted and "retry-after" not in answer.headers:
                return answer
            assert answer.status_code >= 500 or answer.status_code in {409, 429}, answer.text
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "no answer for two minutes"
        outcome.retried += 1
        time.sleep(0.2)


def _kill(
    installation: Installation,
    outcome: Outcome,
    chance: random.Random,
    kills: int,
    seconds: float,
    over: threading.Event,
) -> None:
    while outcome.kills.total() < kills and not over.wait(chance.uniform(0.4, 1.6) * seconds / kills):
        try:
            name, pid = _victim(installation, chance)
            os.kill(pid, signal.SIGKILL)
            outcome.kills[name] += 1
        except (ProcessLookupError, IndexError, AssertionError, OSError):
            # It was gone already: another one next time.
            continue


def _victim(installation: Installation, chance: random.Random) -> tuple[str, int]:
    """A function's process mostly; else a part of the platform, or a connection's backend in PostgreSQL."""
    status = installation.status()
    if (dice := chance.random()) < 0.65:
        one = chance.choice([one for one in status["services"] if one["pids"]])
        return one["name"], chance.choice(one["pids"])
    if dice < 0.9:
        part = chance.choice([one for one in _PARTS if one in status["parts"]])
        return part, status["parts"][part]
    backends = [int(pid) for pid in _children(status["parts"]["postgres"]) if b"wake_" in _words(int(pid))]
    return "postgres backend", chance.choice(backends)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _words(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _rest(installation: Installation, outcome: Outcome) -> None:
    """Let the timers have their turns until the books say that all is at rest."""
    began = time.monotonic()
    while time.monotonic() - began < _REST_SECONDS:
        for name in _TIMERS:
            ping(installation, name)
        checked = installation.wake("check-books", "--at-rest")
        outcome.books, outcome.balanced = (checked.stdout + checked.stderr).strip(), checked.returncode == 0
        if outcome.balanced:
            break
        time.sleep(2)
    outcome.rest_seconds = time.monotonic() - began


def ping(installation: Installation, name: str) -> None:
    """Wake a function as its PingSource does, and let it do its work."""
    event = {"ce-specversion": "1.0", "ce-id": secrets.token_hex(8), "ce-source": "/storm", "ce-type": "ping"}
    try:
        with httpx.Client(proxy=installation.status()["gateway"], timeout=60) as http:
            http.post(f"http://{name}.shop.svc.cluster.local/", headers=event)
    except (httpx.TransportError, AssertionError):
        pass


def _count(buyer: Customer, outcome: Outcome) -> None:
    """The final status of every order, page by page."""
    buyer.sign_in()
    path: str | None = "/orders/?limit=100"
    while path:
        page = buyer.http.get(path).json()
        outcome.statuses.update(one["status"] for one in page["items"])
        path = page["next"]


def report(outcome: Outcome, seed: int) -> str:
    """The figures."""
    return (
        f"seed {seed}: {len(outcome.accepted)} orders accepted ({outcome.retried} calls had to be repeated), "
        f"{outcome.cancelled} of them cancelled\n"
        f"{outcome.kills.total()} kills: {json.dumps(dict(outcome.kills.most_common()))}\n"
        f"orders: {json.dumps(dict(outcome.statuses))}; at rest after {outcome.rest_seconds:.0f} s\n{outcome.books}"
    )
