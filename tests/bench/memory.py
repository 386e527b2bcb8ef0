"""What the platform costs: memory as PSS (shared pages counted once) and CPU, all asleep; and each warm function."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from tests.flows.conftest import Customer, Installation, wait_until

_SECONDS = 10


def run(installation: Installation) -> None:
    """Print the figures."""
    _sleep(installation)
    asleep = _pss(installation)
    before = _cpu(installation)
    time.sleep(_SECONDS)
    used = (_cpu(installation) - before) / _SECONDS * 100
    customer = Customer(installation)
    customer.ends(customer.place())
    awake = len(installation.awake())
    each = (_pss(installation) - asleep) / awake
    customer.http.close()
    print(f"\nMemory and CPU\n  all asleep      {asleep:8.0f} MB PSS   {used:.1f} % of one core")
    print(f"  each warm       {each:8.1f} MB PSS   (of {awake} functions, with their database connections)", flush=True)


def _sleep(installation: Installation) -> None:
    wait_until(lambda: not installation.awake(), seconds=60)


def _processes(installation: Installation) -> list[int]:
    """Everything below `wake up`, and it."""
    assert installation.process is not None
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, waiting = [], [installation.process.pid]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def _pss(installation: Installation) -> float:
    total = 0
    for pid in _processes(installation):
        try:
            match = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += int(match[1]) if match else 0
    return total / 1024


def _cpu(installation: Installation) -> float:
    ticks = 0
    for pid in _processes(installation):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
