"""The overlays' checks notice a checker that looks away."""

from __future__ import annotations

import pytest

from tests.checks import overlays
from tests.checks.planted import plant
from tests.ship.built import build, of_kind

GOOD = of_kind(build("nats"), "Service", "serving.")["orders-place"]


def test_what_is_planted_is_bad_in_one_way() -> None:
    """Each has a name of its own, and the good one stays as it is."""
    planted = list(plant(GOOD))

    assert len({one.name for one in planted}) == len(planted) == 9
    assert {one.check for one in planted} == overlays.CHECKS.keys()
    assert all(one.body != GOOD for one in planted)


def test_a_checker_that_finds_nothing_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each thing that it should have found."""
    planted = [one for one in plant(GOOD) if one.check == "types"]
    monkeypatch.setattr(overlays, "CHECKS", {"types": lambda _, __: iter(["planted-unknown: other words"])})

    assert list(overlays.problems({}, planted)) == [
        f"types has not found what was planted: {one.name}, {one.word}" for one in planted
    ]


def test_the_admission_finds_what_is_planted_and_nothing_else() -> None:
    """The one check that needs no tools of its own."""
    planted = [one for one in plant(GOOD) if one.check == "admission"]

    assert len(planted) == 1
    assert len(list(overlays.by_admission({"nats": build("nats")}, [one.body for one in planted]))) == 1
