"""`wake` alone: what runs now, as a table that follows it in a terminal, or printed once where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

_TICK_SECONDS = 0.5
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def table(status: Mapping[str, Any]) -> str:
    """The revisions, those awake first, and a line about all."""
    services = sorted(status["services"], key=lambda one: (one["phase"] == "asleep", one["name"], one["revision"]))
    rows = [f"{'NAME':<24}{'REVISION':<28}{'PHASE':<10}{'REPLICAS':<10}{'NOW':<6}{'REQUESTS':<10}{'STARTS':<8}CRASHES"]
    rows += [
        f"{one['name']:<24}{one['revision']:<28}{one['phase']:<10}{one['replicas']:<10}"
        f"{one['requests_active']:<6}{one['requests_total']:<10}{one['starts']:<8}{one['crashes']}"
        for one in services
    ]
    awake = sum(one["phase"] != "asleep" for one in services)
    return "\n".join([*rows, "", f"{len(services)} revisions, {awake} awake. API {status['url']}"])


def show(status: Callable[[], Mapping[str, Any] | None]) -> None:
    """Print the table; in a terminal again and again, until ctrl-C or until nothing runs any more."""
    found = status()
    if found is None:
        return
    if not sys.stdout.isatty():
        print(table(found))
        return
    while found is not None:
        print(_HOME_AND_CLEAR + table(found) + "   (ctrl-C leaves; Wake runs on)", flush=True)
        time.sleep(_TICK_SECONDS)
        found = status()
    print("It was stopped.")
