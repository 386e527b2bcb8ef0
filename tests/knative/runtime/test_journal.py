"""`wake events`: rows of the Broker's journal, and `wake logs`: files that grow."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from knative.runtime.follow import follow, last_lines
from knative.runtime.journal import detail, happenings, lines

HAPPENING = {
    "time": "2026-11-24T12:00:00.123Z",
    "kind": "failed",
    "type": "orders.placed.v1",
    "trigger": "payments-charge",
    "subject": "o-1",
    "attempt": 2,
    "status": 503,
    "duration_ms": 12.4,
    "reason": "the card processor did not answer",
    "retry_in_seconds": 0.4,
}


def test_a_row_says_what_happened_and_what_comes_next() -> None:
    """Attempt, status, duration, reason, and when it is tried again."""
    assert detail(HAPPENING) == "attempt 2, 503, 12 ms, the card processor did not answer, again in 0.4 s"


def test_what_was_set_aside_is_read_first(tmp_path: Path) -> None:
    """The journal's older file comes before it, filtered by subject; a line cut by a kill is passed over."""
    journal = tmp_path / "events.jsonl"
    (tmp_path / "events.jsonl.1").write_text(json.dumps({**HAPPENING, "id": "1"}) + "\n")
    journal.write_text(
        json.dumps({**HAPPENING, "id": "2", "subject": "o-2"})
        + "\n"
        + json.dumps({**HAPPENING, "id": "3"})
        + '\n{"time": "2026-'
    )

    assert [one["id"] for one in happenings(journal, "o-1")] == ["1", "3"]
    assert len(list(lines(journal, subject=None, last=2, follow=False, as_json=True))) == 2


def test_following_starts_at_the_end_and_goes_on_in_a_new_file(tmp_path: Path) -> None:
    """Only what comes from now on, and a file that was set aside is left for the one that took its name."""
    file = tmp_path / "orders-place.log"
    file.write_text("old\n")

    def write_later(text: str, *, aside: bool) -> threading.Timer:
        def write() -> None:
            if aside:
                file.rename(tmp_path / "orders-place.log.1")
            with file.open("a") as stream:
                stream.write(text + "\n")

        timer = threading.Timer(0.05, write)
        timer.start()
        return timer

    following = follow(file)
    timer = write_later("new", aside=False)
    assert next(following) == "new"
    timer.join()
    timer = write_later("newer", aside=True)
    assert next(following) == "newer"
    timer.join()
    following.close()

    assert last_lines(file, 1) == ["newer"]
