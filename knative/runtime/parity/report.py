"""Tells what came of the scenarios: for people as they end, for machines at the end."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from knative.runtime.parity.difference import Difference, as_json, lines
from knative.runtime.parity.installation import Installation
from knative.runtime.parity.normal import Told
from knative.runtime.parity.printable import printable
from knative.runtime.parity.scenario import Scenario
from knative.runtime.parity.target import Target


@dataclass(frozen=True)
class Result:
    """What came of one scenario."""

    scenario: Scenario
    differences: tuple[Difference, ...] = ()
    seconds: float = 0.0
    #: Why it was; empty where it was not.
    left_out: str = ""
    told: Sequence[Told] = ()

    @property
    def name(self) -> str:
        """The scenario's."""
        return self.scenario.name

    @property
    def word(self) -> str:
        """In a word or two."""
        return "left out" if self.left_out else "differs" if self.differences else "same"


@dataclass
class Report:
    """Of one run, as its options ask for it."""

    options: argparse.Namespace
    targets: Sequence[Target]
    results: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """One more."""
        self.results.append(result)
        if self.options.json:
            return
        if len(self.results) == 1:
            print(f"{self.targets[0].url}, {self._measure}:\n")
        word = "recorded" if self.options.record and not result.left_out else result.word
        rest = (
            printable(result.left_out)
            or f"{len(result.told):>2} steps {result.seconds:6.1f} s   {result.scenario.about}"
        )
        print(f"{word:<10}{result.name:<18}{rest}", flush=True)
        for line in lines(result.differences):
            print(printable(line), flush=True)

    @property
    def _measure(self) -> str:
        """What it is compared with."""
        if self.options.record:
            return f"recorded in {self.options.record}"
        if len(self.targets) > 1:
            return f"compared with {self.targets[1].url}"
        return f"compared with {self.options.against or 'what a laptop answers'}"

    def finish(self, there: Sequence[Installation]) -> int:
        """The end of it; answers the exit code."""
        counts = {word: sum(one.word == word for one in self.results) for word in ("same", "differs", "left out")}
        code = 1 if counts["differs"] or (self.options.complete and counts["left out"]) else 0
        if counts["left out"] == len(self.results):
            print("wake: nothing was compared: everything was left out", file=sys.stderr)
            code = 2
        if self.options.json:
            print(json.dumps(self._machines(there), indent=1))
        else:
            print("\n" + "\n".join(self._people(counts, there)))
        return code

    def _people(self, counts: dict[str, int], there: Sequence[Installation]) -> list[str]:
        same = "recorded" if self.options.record else "the same"
        said = [f"{counts['same']} {same}, {counts['differs']} different, {counts['left out']} left out."]
        for one in there:
            if one.registered:
                who = f"users {one.user}-…, who are deactivated now"
                said.append(f"Written to {one.target.url}: {who}, and their orders, which stay.")
            if one.left_behind:
                said.append(f"Still active there, for deactivating failed: {', '.join(one.left_behind)}.")
        return said

    def _machines(self, there: Sequence[Installation]) -> dict[str, object]:
        return {
            "url": self.targets[0].url,
            "measure": self._measure,
            "runs": [one.user for one in there],
            "still_active": [name for one in there for name in one.left_behind],
            "scenarios": [
                {
                    "name": one.name,
                    "result": one.word,
                    "reason": one.left_out,
                    "seconds": round(one.seconds, 3),
                    "steps": len(one.told),
                    "differences": as_json(one.differences),
                }
                for one in self.results
            ],
        }
