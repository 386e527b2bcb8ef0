"""Where two installations answered otherwise. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from knative.runtime.parity import pointers
from knative.runtime.parity.normal import Told

NOTHING = "nothing"
_LONG = 200


@dataclass(frozen=True)
class Difference:
    """One place: in which step, where in its answer, what was expected there and what came, as JSON or `nothing`."""

    step: str
    request: str
    where: str
    expected: str
    got: str


def differences(expected: Sequence[Told], got: Sequence[Told]) -> list[Difference]:
    """Every place at which the answers of one scenario differ."""
    return [one for pair in zip_longest(expected, got) for one in _of_step(*pair)]


def _of_step(expected: Told | None, got: Told | None) -> Iterator[Difference]:
    if expected is None or got is None:
        one = expected or got
        assert one is not None  # noqa: S101 - zip_longest has one of the two.
        answers = (
            ("an answer", "not asked, for want of what a step before it gives") if expected else (NOTHING, "an answer")
        )
        yield Difference(one.step, one.request, "step", *answers)
        return
    before, after = _places(expected), _places(got)
    if before == after:
        # An object whose names are numbers has the pointers of a list.
        before, after = ({"body": json.dumps(one.body)} for one in (expected, got))
    for where in sorted(before.keys() | after.keys(), key=_rank):
        pair = before.get(where, NOTHING), after.get(where, NOTHING)
        if pair[0] != pair[1]:
            yield Difference(got.step, got.request, where, *map(_short, pair))


def _places(told: Told) -> dict[str, str]:
    """Each place of an answer, with its value as JSON."""
    values: dict[str, Any] = {"step": told.step, "request": told.request, "status": told.status}
    values |= {f"header {name}": value for name, value in told.headers.items()}
    values |= {f"body {where}".rstrip(): value for where, value in pointers.leaves(told.body)}
    return {where: json.dumps(value, ensure_ascii=False) for where, value in values.items()}


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text)} characters)"


def _rank(where: str) -> tuple[int, str]:
    return ("step", "request", "status", "header", "body").index(where.partition(" ")[0]), where


def lines(found: Sequence[Difference]) -> Iterator[str]:
    """The differences for people: each step once, with its request line."""
    by_step: dict[tuple[str, str], list[Difference]] = {}
    for one in found:
        by_step.setdefault((one.step, one.request), []).append(one)
    for (step, request), of_step in by_step.items():
        yield f"  {step}: {request}"
        for one in of_step:
            yield f"    {one.where:<24}expected {one.expected}"
            yield f"    {'':<24}got      {one.got}"


def as_json(found: Sequence[Difference]) -> list[Mapping[str, str]]:
    """The differences for machines."""
    return [dict(vars(one)) for one in found]
