"""A short storm; `make storm` is a long one."""

from __future__ import annotations

import pytest

from knative.runtime import programs, rabbitmq
from tests.flows.conftest import Installation
from tests.storm.storm import report, run


@pytest.mark.parametrize(("channel", "orders", "seconds", "kills"), [("nats", 60, 8, 6), ("rabbitmq", 20, 3, 3)])
def test_every_order_comes_to_its_end(
    installation: Installation, channel: str, orders: int, seconds: float, kills: int
) -> None:
    """Some orders in some seconds with some kills, the same ones each time as far as the machine allows."""
    if channel == "rabbitmq" and rabbitmq.find() is None:
        pytest.skip(f"rabbitmq-server is not installed: {programs.HOW_TO_GET['rabbitmq-server']}")
    installation.environment["WAKE_CHANNEL"] = channel
    outcome = run(installation, orders=orders, seconds=seconds, kills=kills, seed=7)

    assert outcome.balanced, report(outcome, 7)
    assert outcome.statuses.total() == len(outcome.accepted) == orders
    assert set(outcome.statuses) <= {"confirmed", "rejected", "cancelled", "expired"}
    assert installation.stop() == 0
