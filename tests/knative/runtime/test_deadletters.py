"""`wake deadletters` and `wake replay`: what is typed, and how it is said."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

import pytest

from knative.runtime.api import Admin, ApiFailed
from knative.runtime.deadletters import _changed, _found, moment
from knative.runtime.letters import counted, row, said, schema_lines, whole
from knative.runtime.workbench import count

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LETTER: dict[str, Any] = {
    "id": "01a211e0-31ee-78b8-9807-a2403ca2f87d",
    "state": "kept",
    "kind": "undeliverable",
    "type": "orders.placed.v1",
    "destination": "http://payments-charge.shop.svc.cluster.local",
    "code": "503",
    "answer": "no\ndatabase",
    "attempts_made": 11,
    "edited": True,
    "received_at": "2026-11-25T08:43:55Z",
    "attributes": {"id": "1", "type": "orders.placed.v1"},
    "data": "{}",
    "edit": None,
    "attempts": [],
    "changes": [{"at": "2026-11-25T08:43:55Z", "what": "edited", "who": "admin", "why": "a typo"}],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90m", "2026-11-25T10:30:00+00:00"), ("2026-11-25T11:00:00Z", "2026-11-25T11:00:00+00:00")],
)
def test_a_time_is_a_moment_or_how_long_ago(text: str, expected: str) -> None:
    """As the API takes it."""
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-11-25", "1 h", ""])
def test_anything_else_is_one_sentence(text: str) -> None:
    """That shows both forms."""
    with pytest.raises(ApiFailed, match="90m"):
        moment(text, NOW)


@pytest.mark.parametrize(
    ("sets", "unsets", "expected"),
    [
        (["a=2"], [], {"a": 2, "items": [{"n": 1}]}),
        (["a=x"], [], {"a": "x", "items": [{"n": 1}]}),
        (['a="2"'], [], {"a": "2", "items": [{"n": 1}]}),
        (["items.0.n=null"], ["a"], {"items": [{"n": None}]}),
        (["b=1=2"], [], {"a": 1, "items": [{"n": 1}], "b": "1=2"}),
    ],
)
def test_values_are_put_in_and_taken_out_by_their_paths(sets: list[str], unsets: list[str], expected: Any) -> None:
    """JSON where it is JSON, else text."""
    assert _changed('{"a": 1, "items": [{"n": 1}]}', sets, unsets) == expected


@pytest.mark.parametrize(
    ("data", "sets", "unsets"),
    [
        ("x", ["a=1"], []),
        ("{}", ["a"], []),
        ("{}", ["a.b=1"], []),
        ("{}", [], ["a"]),
        ("1", ["a=1"], []),
        ("[]", ["x=1"], []),
        ("[]", ["3=1"], []),
    ],
)
def test_a_path_that_leads_nowhere_is_said_to(data: str, sets: list[str], unsets: list[str]) -> None:
    """Nothing is guessed."""
    with pytest.raises(ApiFailed):
        _changed(data, sets, unsets)


def test_an_empty_id_is_no_letter() -> None:
    """Each id begins with it, and a shell's unset variable would discard the only letter."""
    with pytest.raises(ApiFailed, match="an empty id"):
        _found(Admin("http://localhost:1", "token", None), "")


@pytest.mark.parametrize("text", ["-1", "0", "x", ""])
def test_a_count_is_a_number_from_one_on(text: str) -> None:
    """Not a traceback later."""
    with pytest.raises(argparse.ArgumentTypeError):
        count(text)


def test_the_whole_of_a_long_answer_is_shown_and_the_list_has_its_beginning() -> None:
    """What the function said is what one reads `show` for."""
    attempt = {"at": "2026-11-25T08:43:55Z", "destination": "f", "code": "500", "answer": "x" * 200}
    letter = {**LETTER, "code": "500", "answer": "x" * 200, "attempts": [attempt]}

    assert row(letter).endswith("…")
    assert any(line.endswith("x" * 200) for line in whole(letter))


def test_a_letter_in_words() -> None:
    """A line of the list, and the whole: also what is not known of it."""
    line, lines = row(LETTER), list(whole(LETTER))

    assert "kept*" in line
    assert line.endswith("payments-charge       11     503: no database")
    assert "  (11 more, of which the Broker does not tell)" in lines
    assert lines[-1].endswith("edited by admin: a typo")


def test_what_a_function_would_do_in_words() -> None:
    """With what it would record."""
    told = {"would": "handle", "function": "f", "reason": None, "records": [{"type": "t", "subject": "s", "data": 1}]}

    assert said(told) == "f would handle it\n  it would record t of s: 1"
    assert said({"would": "unknown", "reason": "404", "records": []}) == "? does not say: 404"
    assert counted(["handled", "failed", "handled"]) == "2 handled, 1 failed."


def test_a_schema_that_is_not_known_is_said_to_be() -> None:
    """Nothing is said of the data then."""
    unknown = {"known": False, "violations": [], "missing": [], "unknown": []}

    assert "The catalogue has no event orders.placed.v1" in next(iter(schema_lines(unknown, LETTER)))
