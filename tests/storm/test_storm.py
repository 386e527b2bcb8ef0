"""A short storm; `make storm` is a long one."""

from __future__ import annotations

from tests.flows.conftest import Installation
from tests.storm.storm import report, run


def test_every_order_comes_to_its_end(installation: Installation) -> None:
    """60 orders in 8 seconds with 6 kills, the same ones each time as far as the machine allows."""
    outcome = run(installation, orders=60, seconds=8, kills=6, seed=7)

    assert outcome.balanced, report(outcome, 7)
    assert outcome.statuses.total() == len(outcome.accepted) == 60
    assert set(outcome.statuses) <= {"confirmed", "rejected", "cancelled", "expired"}
    assert installation.stop() == 0
