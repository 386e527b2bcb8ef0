"""The journal: what it cannot write is nobody else's trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventing.event import Event
from eventing.journal import Journal

EVENT = Event(id="1", source="/x", type="t", data=b"{}")


def test_a_full_disk_costs_lines_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """An event that was stored is accepted, and one that was delivered is delivered; it is said once."""
    journal = Journal(Path("/dev/full"))
    journal.write("accepted", "b", EVENT)
    journal.write("delivered", "b", EVENT)
    journal.close()

    assert [record.getMessage()[:20] for record in caplog.records] == ["journal_not_written,"]


def test_it_goes_on_once_it_can_write(tmp_path: Path) -> None:
    """In the same file."""
    file = tmp_path / "journal"
    file.mkdir()
    journal = Journal(file)
    journal.write("accepted", "b", EVENT)
    file.rmdir()
    journal.write("delivered", "b", EVENT)
    journal.close()

    assert file.read_text().count("\n") == 1
