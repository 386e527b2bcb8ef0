"""The Broker's journal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from eventing.event import Event
from eventing.journal import Journal

EVENT = Event(id="1", source="/wake/orders", type="orders.placed.v1")


def kinds(file: Path) -> list[str]:
    """What it says."""
    return [json.loads(line)["kind"] for line in file.read_text().splitlines()]


async def test_lines_of_one_turn_are_written_at_its_end_and_in_order(tmp_path: Path) -> None:
    """Nothing is held back for longer."""
    journal = Journal(tmp_path / "journal")
    for number in range(5):
        journal.write(f"k{number}", "shop/default", EVENT)
    assert not (tmp_path / "journal").exists()
    await asyncio.sleep(0)

    assert kinds(tmp_path / "journal") == ["k0", "k1", "k2", "k3", "k4"]
    journal.close()


async def test_closing_writes_what_is_left(tmp_path: Path) -> None:
    """A Broker that ends says what it did."""
    journal = Journal(tmp_path / "journal")
    journal.write("delivered", "shop/default", EVENT, attempt=1)
    journal.close()
    await asyncio.sleep(0)

    assert kinds(tmp_path / "journal") == ["delivered"]


async def test_a_long_journal_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FILE.1; no line is lost."""
    monkeypatch.setattr("eventing.journal._BYTES_MAX", 100)
    journal = Journal(tmp_path / "journal")
    for number in range(2):
        journal.write(f"k{number}", "shop/default", EVENT)
        await asyncio.sleep(0)
        if not number:
            assert kinds(tmp_path / "journal.1") == ["k0"]

    assert kinds(tmp_path / "journal.1") == ["k1"]
    journal.close()


async def test_a_full_disk_costs_lines_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """An event that was stored is accepted, and one that was delivered is delivered; it is said once."""
    journal = Journal(Path("/dev/full"))
    for kind in ("accepted", "delivered"):
        journal.write(kind, "shop/default", EVENT)
        await asyncio.sleep(0)
    journal.close()

    assert [record.getMessage()[:20] for record in caplog.records] == ["journal_not_written,"]


async def test_it_goes_on_once_it_can_write(tmp_path: Path) -> None:
    """In the same file."""
    file = tmp_path / "journal"
    file.mkdir()
    journal = Journal(file)
    journal.write("accepted", "shop/default", EVENT)
    await asyncio.sleep(0)
    file.rmdir()
    journal.write("delivered", "shop/default", EVENT)
    journal.close()

    assert kinds(file) == ["delivered"]
