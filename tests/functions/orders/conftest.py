"""Users beside the functions that are under test here."""

from __future__ import annotations

import pytest

from tests.functions.conftest import Users


@pytest.fixture(autouse=True)
def asked(buyers: Users) -> None:
    """Every test of this folder may place orders."""
