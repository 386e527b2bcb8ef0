"""`make storm`: STORM_ORDERS (2000), STORM_SECONDS (180), STORM_KILLS (60), STORM_SEED. Exits 1 on any loss.

`python -m tests.storm --channel rabbitmq` has RabbitMQ keep the events, and kills its server too.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path

from tests.flows.conftest import Installation
from tests.storm.storm import report, run


def main() -> int:
    """One storm on an installation of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--channel", choices=("nats", "rabbitmq"), default="nats", help="what keeps the events")
    channel = parser.parse_args().channel
    seed = int(os.environ.get("STORM_SEED", secrets.randbelow(10**6)))
    print(f"seed {seed}", flush=True)
    orders = int(os.environ.get("STORM_ORDERS", "2000"))
    with tempfile.TemporaryDirectory(prefix="wake-storm-") as folder:
        installation = Installation(Path(folder))
        installation.environment["WAKE_CHANNEL"] = channel
        try:
            outcome = run(
                installation,
                orders=orders,
                seconds=float(os.environ.get("STORM_SECONDS", "180")),
                kills=int(os.environ.get("STORM_KILLS", "60")),
                seed=seed,
            )
        finally:
            installation.stop()
    print(report(outcome, seed))
    settled = {"confirmed", "rejected", "cancelled", "expired"}
    whole = outcome.statuses.total() == orders and set(outcome.statuses) <= settled
    return 0 if whole and outcome.balanced else 1


if __name__ == "__main__":
    sys.exit(main())
