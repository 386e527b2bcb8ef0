"""Reads the Broker's journal for `wake events`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from knative.runtime.follow import follow, last_lines

_LINES_MAX = 1_000_000


def heading() -> str:
    """The table's first line."""
    return f"{'TIME':<14}{'WHAT':<15}{'TYPE':<26}{'TRIGGER':<26}{'SUBJECT':<38}DETAIL"


def row(happening: Mapping[str, Any]) -> str:
    """One happening as a line of the table."""
    time = str(happening.get("time", ""))[11:23]
    return (
        f"{time:<14}{happening.get('kind', ''):<15}{happening.get('type', ''):<26}"
        f"{happening.get('trigger', ''):<26}{happening.get('subject', '') or '':<38}{detail(happening)}"
    ).rstrip()


def detail(happening: Mapping[str, Any]) -> str:
    """What a reader wants to know beyond the columns: attempt, status, duration, reason, what comes next."""
    parts = []
    if (attempt := happening.get("attempt", 1)) > 1:
        parts.append(f"attempt {attempt}")
    if "status" in happening:
        parts.append(str(happening["status"]))
    if "duration_ms" in happening:
        parts.append(f"{happening['duration_ms']:.0f} ms")
    if happening.get("reason"):
        parts.append(str(happening["reason"]))
    if "retry_in_seconds" in happening:
        parts.append(f"again in {happening['retry_in_seconds']:.1f} s")
    return ", ".join(parts)


def happenings(journal: Path, subject: str | None) -> Iterator[dict[str, Any]]:
    """All that is kept, oldest first, the file that was set aside included."""
    for file in (journal.with_name(journal.name + ".1"), journal):
        if file.exists():
            yield from _of(last_lines(file, _LINES_MAX), subject)


def lines(journal: Path, *, subject: str | None, last: int, follow: bool, as_json: bool) -> Iterator[str]:
    """The last happenings as lines of text, then those that follow."""
    show = json.dumps if as_json else row
    yield from (show(one) for one in list(happenings(journal, subject))[-last:])
    if follow:
        yield from (show(one) for one in _of(_follow(journal), subject))


_follow = follow


def _of(texts: Iterator[str] | list[str], subject: str | None) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            happening: dict[str, Any] = json.loads(text)
        except ValueError:
            # A line that was cut by a kill.
            continue
        if subject is None or happening.get("subject") == subject:
            yield happening
