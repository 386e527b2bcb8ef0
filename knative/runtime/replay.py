"""`wake replay`: stored events to one Trigger's subscriber again; through the API, so on a cluster too."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from knative.runtime.api import Admin
from knative.runtime.deadletters import moment
from knative.runtime.letters import counted, said


def replay(api: Admin, options: argparse.Namespace) -> int:
    """Send them, call by call, and print what becomes of each; answers 1 where one was not handled."""
    now = datetime.now(UTC)
    given = {name: getattr(options, name) for name in ("trigger", "type", "subject") if getattr(options, name)}
    times = {name: moment(text, now) for name in ("since", "until") if (text := getattr(options, name))}
    body: dict[str, Any] | None = {**given, **times, "dry_run": options.dry_run}
    results: list[dict[str, Any]] = []
    while body is not None:
        answer = api.ask("POST", "/replays", body).body
        results += answer["results"]
        body = answer["next"]
        if not options.json:
            for one in answer["results"]:
                print(_line(one), flush=True)
    outcomes = [one.get("outcome") or f"would {one['would']}" for one in results]
    print(json.dumps(results, indent=1) if options.json else counted(outcomes))
    return 1 if any(one.get("outcome", "handled") != "handled" for one in results) else 0


def _line(one: Mapping[str, Any]) -> str:
    about = f"{one['type']} {one['id']} of {one['subject']}"
    if "would" in one:
        return f"{about}: {said(one)}"
    return f"{about}  {one['outcome']}{': ' + one['reason'] if one['reason'] else ''}"
