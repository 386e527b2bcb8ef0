"""The contract check finds what would break a client of the last release, and leaves alone what would not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.checks.protos import RELEASED, ROOT, broken

FILE = "protos/orders/v1/orders.proto"


def changed(folder: Path, old: str, new: str) -> list[str]:
    """What is found in a copy of the contract with this change, where there is neither git nor a network."""
    shutil.copytree(ROOT / "protos", folder / "protos", ignore=shutil.ignore_patterns("*.py", "*.pyi"))
    shutil.copy(ROOT / "buf.yaml", folder)
    text = (folder / FILE).read_text()
    assert old in text
    (folder / FILE).write_text(text.replace(old, new))
    assert (folder / RELEASED).exists()
    return list(broken(folder))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("string currency = 2;", "string currency = 3;", "currency"),
        ("rpc GetOrder(", "rpc FetchOrder(", "GetOrder"),
        ("  ORDER_STATUS_EXPIRED = 5;\n", "", "OrderStatus"),
    ],
)
def test_what_breaks_a_client_is_found(tmp_path: Path, old: str, new: str, said: str) -> None:
    """A number, a method, a value: with the file and the name."""
    found = changed(tmp_path, old, new)

    assert any(FILE in one and said in one for one in found), found


def test_what_is_added_breaks_nobody(tmp_path: Path) -> None:
    """A field more."""
    assert changed(tmp_path, "bool replayed = 4;", "bool replayed = 4;\n  string note = 5;") == []
