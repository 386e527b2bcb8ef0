"""`make operations-check`: a real Prometheus reads what really runs, and evaluates every rule and every query."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from knative.runtime import child, nats
from tests.conftest import ROOT
from tests.functions.conftest import KEY, Users, bearer, users
from tests.functions.processes import Function
from tests.operations import observed
from tests.operations.promql import grouped, metrics

__all__ = ["users"]
_ABSENT = "promtool and prometheus are not installed: on Debian, apt-get install prometheus"
_PATIENCE_SECONDS = 30.0
ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


def program(name: str) -> str:
    """Prometheus' own program; the test is skipped where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(_ABSENT)
    return found


def promtool(*arguments: str) -> None:
    """Run it; what it says is the failure."""
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_rules() -> None:
    """By Prometheus' own reading."""
    promtool("check", "rules", str(observed.RULES))


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    """On series that are made up for it."""
    promtool("test", "rules", "tests/operations/rules_test.yaml")


class Prometheus:
    """A server of this test's own, which scrapes every half second."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{child.free_port()}/api/v1", timeout=10)
        configuration = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
            "rule_files": [str(observed.RULES)],
            "scrape_configs": [
                {"job_name": "wake", "static_configs": [{"targets": targets, "labels": {"namespace": "shop"}}]}
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(configuration))
        self._process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.client.base_url.host}:{self.client.base_url.port}",
                "--log.level=error",
            ]
        )

    def ask(self, path: str, **parameters: Any) -> Any:
        """Its answer's data."""
        answer = self.client.get(path, params=parameters)

        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def is_ready(self) -> bool:
        """Whether it answers questions."""
        with contextlib.suppress(httpx.TransportError):
            return self.client.get(str(self.client.base_url.join("/-/ready"))).status_code == 200
        return False

    def until(self, condition: Callable[[], Any]) -> None:
        """Ask again and again until it is so."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it is not so"
            time.sleep(0.1)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        self.client.close()


@pytest.fixture
def urls(database_url: Callable[[str], str]) -> dict[str, str]:
    """A new database for each area."""
    return {area: database_url(area) for area in ("users", "orders", "payments", "cards", "deadletters")}


@pytest.fixture
def broker(nats_server: nats.Nats, tmp_path: Path) -> Iterator[int]:
    """Our own Broker as a process, with one Trigger that nobody answers; its port."""
    port = child.free_port()
    manifest = [
        {"kind": "Broker", "metadata": {"namespace": "shop", "name": "default"}},
        {
            "kind": "Trigger",
            "metadata": {"namespace": "shop", "name": "payments-charge"},
            "spec": {"broker": "default", "subscriber": {"uri": f"http://127.0.0.1:{child.free_port()}/"}},
        },
    ]
    (tmp_path / "broker.yaml").write_text("---\n".join(json.dumps(one) + "\n" for one in manifest))
    process = subprocess.Popen(
        [sys.executable, "-m", "eventing.broker", "--manifest", str(tmp_path / "broker.yaml"), "--port", str(port)],
        env={**os.environ, "CHANNEL_URL": nats_server.url},
        cwd=ROOT,
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def functions(urls: dict[str, str], broker: int, users: Users) -> Iterator[dict[str, Function]]:
    """Those whose metrics are used, over HTTP and gRPC, each as a process."""
    every = {
        "K_SINK": f"http://127.0.0.1:{broker}/shop/default",
        "TOKEN_KEYS": json.dumps({"keys": [KEY.as_dict(private=False)]}),
        "USERS_RPC_URL": users.rpc.url,
    }
    areas = {f"{area.upper()}_DATABASE_URL": url for area, url in urls.items()}
    simulator = Function("payments-simulate", DATABASE_URL=urls["cards"], WEBHOOK_SECRET="whsec", **every)
    every |= {"CARD_PROCESSOR_URL": simulator.url, "CARD_PROCESSOR": "simulator"}
    made = {
        "payments-simulate": simulator,
        "backlog-measure": Function("backlog-measure", **areas),
        "orders-place": Function("orders-place", DATABASE_URL=urls["orders"], **every),
        "orders-rpc": Function("orders-rpc", DATABASE_URL=urls["orders"], **every),
        "payments-reconcile": Function(
            "payments-reconcile", DATABASE_URL=urls["payments"], ORDERS_DATABASE_URL=urls["orders"], **every
        ),
    }
    try:
        for one in made.values():
            one.start()
        yield made
    finally:
        for one in made.values():
            one.close()


def test_prometheus_finds_every_metric_and_evaluates_every_rule_and_query(
    functions: dict[str, Function], broker: int, tmp_path: Path
) -> None:
    """Each name with each label that is used, of somebody who really exposes it; nothing is an error."""
    place, reconcile = functions["orders-place"], functions["payments-reconcile"]
    assert httpx.post(f"{place.url}/orders/", json=ORDER, headers=bearer("ada"), timeout=20).status_code == 202
    ping = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/ping", "ce-type": "dev.knative.sources.ping"}
    assert httpx.post(reconcile.url, headers=ping, timeout=20).status_code == 204
    ports = [broker, *(one.port for one in functions.values())]
    prometheus = Prometheus(tmp_path, [f"127.0.0.1:{port}" for port in ports])
    try:
        prometheus.until(prometheus.is_ready)
        prometheus.until(lambda: len(prometheus.ask("/query", query="up == 1")["result"]) == len(ports))
        prometheus.until(lambda: all(prometheus.ask("/query", query=one)["result"] for one in observed.recorded()))
        ours, _ = observed.documented()
        found = {name: labels(prometheus, name) for name in ours}
        for expression in observed.expressions():
            prometheus.ask("/query", query=expression)
            for name, selected in metrics(expression):
                if name in ours:
                    assert selected <= found[name] | observed.OF_TARGET, (name, expression)
                    assert grouped(expression) <= found[name] | observed.OF_TARGET, (name, expression)
        states = [rule for group in prometheus.ask("/rules")["groups"] for rule in group["rules"]]
    finally:
        prometheus.close()

    assert {name for name, one in found.items() if not one and not name.endswith("_duration_seconds")} == set()
    assert {rule["name"]: rule.get("lastError") for rule in states if rule["health"] != "ok"} == {}
    assert len(states) == len(observed.rules())


def labels(prometheus: Prometheus, name: str) -> frozenset[str]:
    """Of every series of a metric; none where it is not exposed."""
    series = prometheus.ask("/series", **{"match[]": name})
    return frozenset(label for one in series for label in one if label != "__name__")
