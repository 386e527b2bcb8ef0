"""The scenarios: which requests, in which order, and what of their answers is compared. Pure, but for the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent / "scenarios.yaml"
GRPC = "GRPC"
ADMIN = "admin"
_VARIABLE = re.compile(r"\{([a-z_]+)\}")
_SAFE_METHODS = frozenset({"GET", "HEAD"})
# What a method of gRPC that changes nothing is named like (google.aip.dev/130).
_SAFE_CALLS = ("Get", "BatchGet", "Verify", "Watch")


class NoValue(Exception):
    """A step needs what no step before it gave; the message is its name."""


@dataclass(frozen=True)
class Step:
    """One request; scenarios.yaml says what each field means."""

    name: str
    request: str
    who: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    body: str | None = None
    #: A body of so many bytes.
    fill: int = 0
    until: Mapping[str, Any] = field(default_factory=dict)
    save: Mapping[str, str] = field(default_factory=dict)
    #: Pointers into the body, or `status`; all of the answer where it is empty.
    only: Sequence[str] | str = ()
    mask: Sequence[str] = ()
    number: Sequence[str] = ()
    either: Sequence[int] = ()

    @property
    def method(self) -> str:
        """GRPC, or HTTP's."""
        return self.request.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path with its query, or the full name of the method of gRPC; with variables still in it."""
        return self.request.partition(" ")[2]

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing, whatever the installation makes of it."""
        if self.method == GRPC:
            return self.path.rpartition("/")[2].startswith(_SAFE_CALLS)
        return self.method in _SAFE_METHODS

    def filled(self, values: Mapping[str, str]) -> Step:
        """The step with its variables replaced.

        Raises:
            NoValue: there is none for one of them.
        """
        parts = {name: _filled(getattr(self, name), values) for name in ("request", "headers", "json", "form", "body")}
        return Step(**{**vars(self), **parts})


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        try:
            return _VARIABLE.sub(lambda found: values[found[1]], value)
        except KeyError as error:
            raise NoValue(error.args[0]) from None
    if isinstance(value, Mapping):
        return {name: _filled(one, values) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    return value


@dataclass(frozen=True)
class Scenario:
    """Steps that build on each other; scenarios do not, so they run side by side."""

    name: str
    about: str
    steps: tuple[Step, ...]
    #: Whose card it needs: "" nobody's, `simulator`, or `any`.
    cards: str = ""

    @property
    def people(self) -> frozenset[str]:
        """Customers who have to be there, and the admin."""
        return frozenset(step.who for step in self.steps if step.who)

    @property
    def uses_grpc(self) -> bool:
        """Whether a step goes over gRPC."""
        return any(step.method == GRPC for step in self.steps)

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing: no customer is registered for it either."""
        return not self.people - {ADMIN} and all(step.is_safe for step in self.steps)


@dataclass(frozen=True)
class Book:
    """All scenarios, and the file that has the contract of their calls over gRPC, from the root of the checkout."""

    descriptors: str
    scenarios: tuple[Scenario, ...]

    @classmethod
    def read(cls, file: Path = FILE) -> Book:
        """The only door from YAML."""
        whole = yaml.safe_load(file.read_text())
        return cls(whole["descriptors"], tuple(_scenario(**one) for one in whole["scenarios"]))

    def chosen(self, wanted: Iterable[str], unwanted: Iterable[str]) -> tuple[Scenario, ...]:
        """Those of the names that are wanted (none: all), without those that are not.

        Raises:
            NoValue: there is none of such a name.
        """
        wanted, unwanted = set(wanted), set(unwanted)
        if unknown := (wanted | unwanted) - {one.name for one in self.scenarios}:
            raise NoValue(min(unknown))
        return tuple(one for one in self.scenarios if one.name in (wanted or {one.name}) - unwanted)


def _scenario(steps: Iterable[Mapping[str, Any]], **rest: Any) -> Scenario:
    return Scenario(**rest, steps=tuple(_step(**one) for one in steps))


def _step(**fields: Any) -> Step:
    return Step(**{"who" if name == "as" else name: value for name, value in fields.items()})
