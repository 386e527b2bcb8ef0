"""From POST of an order to `confirmed`: everything asleep, and warm."""

from __future__ import annotations

import os
import signal
import statistics
import time

from tests.flows.conftest import Customer, Installation, wait_until

COLD, WARM = 5, 30


def run(installation: Installation) -> None:
    """Print the figures."""
    customer = Customer(installation)
    customer.ends(customer.place())
    cold = []
    for _ in range(COLD):
        _all_asleep(installation)
        cold.append(_order(customer))
    warm = [_order(customer) for _ in range(WARM)]
    print("\nAn order, POST to confirmed in ms (five functions, two events, two databases)")
    for name, values in (("asleep", cold), ("warm", warm)):
        print(f"  {name:<16}p50 {statistics.median(values):8.1f}   max {max(values):8.1f}", flush=True)
    customer.http.close()


def _all_asleep(installation: Installation) -> None:
    for one in installation.status()["services"]:
        if one["pid"]:
            os.kill(one["pid"], signal.SIGTERM)
    wait_until(lambda: not installation.awake())


def _order(customer: Customer) -> float:
    began = time.perf_counter()
    order_id = customer.place()
    while customer.order(order_id)["status"] != "confirmed":
        time.sleep(0.002)
    return (time.perf_counter() - began) * 1000
