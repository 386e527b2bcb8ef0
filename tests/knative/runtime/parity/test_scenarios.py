"""The scenarios and the record of what a laptop answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from knative.runtime.parity import grpc, record
from knative.runtime.parity.record import NotARecord
from knative.runtime.parity.scenario import ADMIN, GRPC, Book, NoValue, Step

ROOT = Path(__file__).parent.parent.parent.parent.parent
BOOK = Book.read()


def test_the_record_has_every_step_of_every_scenario() -> None:
    """In their order, with the requests that are sent today."""
    recorded = record.read(record.LAPTOPS)

    assert {one.name: [(step.name, step.request) for step in one.steps] for one in BOOK.scenarios} == {
        name: [(one.step, one.request) for one in told] for name, told in recorded.items()
    }


def test_the_record_holds_nothing_of_the_machine_that_made_it() -> None:
    """No id, no time, no token, no host, no answer that failed."""
    text = record.LAPTOPS.read_text()

    assert not [word for word in ("localhost", "127.0.0.1", "eyJ", "T0", "no answer", '"status": 500') if word in text]


def test_no_scenario_that_writes_passes_for_one_that_reads() -> None:
    """By the method of each step, and by whom it takes to be registered."""
    for one in BOOK.scenarios:
        sent = {step.method for step in one.steps}
        assert one.is_safe == (sent <= {"GET", "HEAD", GRPC} and one.people <= {ADMIN} and not one.cards), one.name
    assert {one.name for one in BOOK.scenarios if one.is_safe} == {
        "keys",
        "unrouted",
        "strangers",
        "grpc-strangers",
        "admin-reads",
    }
    assert not Step("x", f"{GRPC} a.v1.B/PlaceOrders").is_safe


def test_every_call_over_grpc_is_in_the_contract() -> None:
    """Which is the file that the scenarios name."""
    pool = grpc.contract(ROOT / BOOK.descriptors)
    for scenario in BOOK.scenarios:
        for step in scenario.steps:
            if step.method == GRPC:
                assert pool.FindMethodByName(step.path.replace("/", "."))


def test_whoever_pays_needs_a_card() -> None:
    """No scenario without `cards` has a token in it that is not declined; only `any` has one of the operator's."""
    for scenario in BOOK.scenarios:
        tokens = set(re.findall(r"tok_\w+|{card_token}", json.dumps([step.json for step in scenario.steps])))
        assert scenario.cards or tokens <= {"tok_decline"}, scenario.name
        assert ("{card_token}" in tokens) == (scenario.cards == "any")


def test_variables_are_filled_everywhere_and_nowhere_else() -> None:
    """In names, lists and objects; a brace of JSON is none; what is not there is told by its name."""
    step = Step("x", "GET /users/{user}", headers={"a": "{run}"}, json=[{"b": "{user}", "c": 1}], body='{"d": {}}')

    filled = step.filled({"user": "ada", "run": "1"})

    assert (filled.request, filled.headers, filled.json) == ("GET /users/ada", {"a": "1"}, [{"b": "ada", "c": 1}])
    assert filled.body == '{"d": {}}'
    with pytest.raises(NoValue, match="run"):
        step.filled({"user": "ada"})


def test_scenarios_are_chosen_by_name() -> None:
    """Only these, all but these; an unknown name is a mistake."""
    assert [one.name for one in BOOK.chosen(["keys", "pages"], ["pages"])] == ["keys"]
    assert len(BOOK.chosen([], ["pages"])) == len(BOOK.scenarios) - 1
    with pytest.raises(NoValue, match="nonsense"):
        BOOK.chosen([], ["nonsense"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "scenarios": {}}', '{"version": 1, "scenarios": 1}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    """With the name of the file."""
    (tmp_path / "file").write_text(text)

    with pytest.raises(NotARecord, match="file"):
        record.read(tmp_path / "file")


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every answer."""
    laptops = record.read(record.LAPTOPS)
    record.write(tmp_path / "copy", laptops)

    assert record.read(tmp_path / "copy") == laptops
    assert (tmp_path / "copy").read_bytes() == record.LAPTOPS.read_bytes()
