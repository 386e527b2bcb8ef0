"""Fifty clients for a minute on one function, through scale-up, a saved file, and scale-down: how many calls fail."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import yaml

from tests.flows.conftest import ROOT, Customer, Installation

CLIENTS, SECONDS = 50, 60.0
FUNCTION = "orders-get"


def run(_: Installation) -> None:
    """Print the figures; on an installation of its own, whose function has a small target."""
    with tempfile.TemporaryDirectory(prefix="wake-bench-") as folder:
        installation = Installation(Path(folder))
        patch = {
            "kind": "Service",
            "metadata": {"name": FUNCTION},
            "spec": {"template": {"metadata": {"annotations": {"autoscaling.knative.dev/target": "1"}}}},
        }
        overlay = {"resources": [str(ROOT / "knative/overlays/local")], "patches": [{"patch": yaml.safe_dump(patch)}]}
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        installation.up("-f", folder)
        try:
            customer = Customer(installation)
            order_id = customer.place()
            customer.ends(order_id)
            asyncio.run(_load(installation, customer, f"/orders/{order_id}"))
            customer.http.close()
        finally:
            installation.stop()


async def _load(installation: Installation, customer: Customer, path: str) -> None:
    codes: Counter[str] = Counter()
    replicas: list[int] = []
    began = time.monotonic()

    async def call(number: int, client: httpx.AsyncClient) -> None:
        # Towards the end only every tenth goes on, so that replicas are taken away under load too.
        while (passed := time.monotonic() - began) < SECONDS and (passed < SECONDS / 2 or number % 10 == 0):
            try:
                codes[str((await client.get(path)).status_code)] += 1
            except httpx.HTTPError as error:
                codes[type(error).__name__] += 1

    async def watch() -> None:
        saved = False
        while (passed := time.monotonic() - began) < SECONDS:
            row = next(one for one in installation.status()["services"] if one["name"] == FUNCTION)
            replicas.append(row["replicas"])
            if passed > SECONDS / 3 and not saved:
                os.utime(ROOT / "functions/orders/get.py")
                saved = True
            await asyncio.sleep(0.2)

    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    async with httpx.AsyncClient(
        base_url=customer.http.base_url, headers=customer.http.headers, timeout=30, limits=limits
    ) as client:
        await asyncio.gather(watch(), *(call(number, client) for number in range(CLIENTS)))
    failed = codes.total() - codes["200"]
    print(
        f"\n{CLIENTS} clients for {SECONDS:.0f} s on {FUNCTION}, its file saved meanwhile\n"
        f"  {codes.total()} calls, {failed} failed ({dict(codes)}); replicas from {replicas[0]} up to {max(replicas)}, "
        f"at the end {replicas[-1]}; saved file in force: {installation.says('the code was saved and is in force')}",
        flush=True,
    )
