"""`make explore`: every single fault of the order flow, on a real PostgreSQL. Exits 1 on any violation."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from functions.migrated import FOLDERS
from knative.runtime import child, postgres, programs
from tests.conftest import ROOT
from tests.explore import explorer
from tests.explore.world import AREAS, World


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """A PostgreSQL of this run's own, migrated."""
    with tempfile.TemporaryDirectory(prefix="wake-explore-") as folder:
        place = Path(folder)
        server = postgres.start(place, child.free_port(), place / "log", {"fsync": "off", "synchronous_commit": "off"})
        try:
            server.wait_until_ready()
            for area in AREAS:
                folders = [option for one in FOLDERS[area] for option in ("--migrations-dir", one)]
                command = [programs.find("dbmate"), "--no-dump-schema", "--url", server.url(area), *folders, "up"]
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            yield {area: server.url(area) for area in AREAS}
        finally:
            server.stop()


async def main() -> int:
    """Explore, and print what was seen."""
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    report = explorer.Report()
    with databases() as urls:
        async with World.opened(urls) as world:
            seen = ""
            async for run, seen_so_far in explorer.explore(world):
                report = seen_so_far
                if str(run.scenario) != seen:
                    seen = str(run.scenario)
                    print(f"  {seen}", flush=True)
    print(
        f"\n{len(explorer.SCENARIOS)} scenarios, {report.runs} runs, {len(report.states)} states, "
        f"{len(report.failed)} violations, in {time.monotonic() - began:.0f} s"
    )
    print(" ".join((explorer.__doc__ or "").split("\n\n")[1].split()))
    if (worst := report.shortest) is not None:
        print(f"\nThe shortest failure: {worst.scenario}; {worst.fault}")
        print("\n".join(f"  {line}" for line in worst.trace))
        print("\n".join(f"  => {line}" for line in worst.violations))
        return 1
    sequences = os.environ.get("LEDGER_SEQUENCES", "10000")
    print(f"\nThe ledger under {sequences} random sequences of operations:", flush=True)
    test = "tests/functions/payments/test_ledger.py::test_random_sequences_keep_the_ledger_at_zero"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        "-o",
        "faulthandler_timeout=0",
        test,
        cwd=ROOT,
        env={**os.environ, "LEDGER_SEQUENCES": sequences},
    )
    return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
