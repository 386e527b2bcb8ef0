"""From request to answer of a sleeping function through the gateway, beside a plain `uvicorn` start of the same one."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import httpx

from knative.runtime import child
from tests.bench import direct
from tests.flows.conftest import ROOT, Customer, Installation, wait_until

# Each opens a connection to its database before it answers, but for users-keys, which has none.
FUNCTIONS = ("users-get", "users-keys", "orders-get", "orders-list", "payments-get")
WAKE_UPS = 20
PLAIN_STARTS = 3


def run(installation: Installation) -> None:
    """Print the figures."""
    customer = Customer(installation)
    order_id = customer.place()
    customer.ends(order_id)
    paths = {
        "users-get": f"/users/{customer.username}",
        "users-keys": "/.well-known/jwks.json",
        "orders-get": f"/orders/{order_id}",
        "orders-list": "/orders/",
        "payments-get": f"/payments/{order_id}",
    }
    print(f"\nCold start: request to answer in ms, {WAKE_UPS} wake-ups of each function through the gateway")
    print(f"  {'':<16}{'p50':>8}{'p99':>8}   {'uvicorn':>8}  ratio")
    everything: list[float] = []
    plain: list[float] = []
    for name in FUNCTIONS:
        woken = [_wake(installation, customer, name, paths[name]) for _ in range(WAKE_UPS)]
        started = [_plain(installation, customer, name, paths[name]) for _ in range(PLAIN_STARTS)]
        _print(name, woken, started)
        everything += woken
        plain += started
    _print("all", everything, plain)
    customer.http.close()


def _print(name: str, woken: Sequence[float], started: Sequence[float]) -> None:
    middle = statistics.median(started)
    print(
        f"  {name:<16}{statistics.median(woken):8.1f}{_percentile(woken, 99):8.1f}   {middle:8.1f}"
        f"  {statistics.median(woken) / middle:5.2f}",
        flush=True,
    )


def _percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _wake(installation: Installation, customer: Customer, name: str, path: str) -> float:
    """Put it to sleep, and time the next request."""

    def pid() -> int | None:
        found: int | None = next(one["pid"] for one in installation.status()["services"] if one["name"] == name)
        return found

    if (number := pid()) is not None:
        os.kill(number, signal.SIGTERM)
        wait_until(lambda: pid() is None)
    began = time.perf_counter()
    answer = customer.http.get(path)
    duration = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, answer.text
    assert "cold" in answer.headers["server-timing"], answer.headers
    wait_until(lambda: pid() is not None)
    return duration


def _plain(installation: Installation, customer: Customer, name: str, path: str) -> float:
    """Start the same app with the uvicorn command, as one would without Wake, until its first answer."""
    variables = direct.variables(installation, name)
    port = child.free_port()
    module = f"functions.{name.replace('-', '.', 1).replace('-', '_')}:app"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", module, "--port", str(port), "--log-level", "critical", "--no-access-log"],
        cwd=ROOT,
        env={**variables, "PATH": os.environ["PATH"]},
    )
    try:
        while True:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers=customer.http.headers)
                break
            except httpx.ConnectError:
                time.sleep(0.002)
        duration = (time.perf_counter() - began) * 1000
        assert answer.status_code == 200, answer.text
    finally:
        process.terminate()
        process.wait()
    return duration
