"""`python -m tests.checks.events [--release]`: no change of an event breaks who reads it, or what is stored of it.

The schemas of the code are held against those that were released (tests/samples/events/released.json), and the samples
beside them go through the code. `--release` makes the schemas of today the released ones; the version of pyproject.toml
says when that is due.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from functions.catalogue import payloads, schema
from knative.runtime.manifests import load
from tests.checks import samples
from tests.checks.compatibility import Schema, breaks
from tests.checks.manifests import OVERLAY
from tests.checks.traffic import Reader, readers

ROOT = Path(__file__).parent.parent.parent
RELEASED = samples.FOLDER / "released.json"
_HARM = {
    "stored": "{function} would refuse each {type} that was sent before and is delivered, replayed or redriven now",
    "readers": "{function}, where its released version still runs, would refuse or misread each {type} sent now",
}
_INSTEAD = (
    "Leave {type} as it was released and add {next} beside it: emit both until no Trigger wants {type} any more"
    " (docs/decisions/0056)."
)


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of every event in the code, by its type."""
    return {name: schema(payload) for name, payload in payloads().items()}


def incompatible(
    released: Mapping[str, Schema], now: Mapping[str, Schema], read: Mapping[str, Sequence[Reader]]
) -> Iterator[str]:
    """Every change that breaks somebody: what, which Triggers and functions, and what to do instead. Pure."""
    for name, before in released.items():
        found = breaks(before, now.get(name))
        yield from (f"{name}: {one}." for one in found)
        for harm in dict.fromkeys(one.harms for one in found):
            yield from (f"  {line}" for line in _broken(name, harm, read.get(name, ())))
        if found:
            yield f"  {_INSTEAD.format(type=name, next=_next(name))}"


def _broken(name: str, harm: str, read: Sequence[Reader]) -> Iterator[str]:
    """Whom it breaks, one sentence each."""
    parsing = [one for one in read if one.parses]
    for one in parsing:
        yield f"The Trigger {one.trigger} breaks: {_HARM[harm].format(function=one.function, type=name)}."
    if not parsing:
        yield f"No function here parses {name}, but other teams may, as it was released."


def _next(name: str) -> str:
    stem, _, version = name.rpartition(".v")
    return f"{stem}.v{int(version) + 1}"


def problems() -> Iterator[str]:
    """Whom the code of today would break, and what stored event it cannot take."""
    yield from incompatible(_released()["schemas"], schemas(), readers(load(OVERLAY)))
    yield from _of_samples()


def _released() -> dict[str, Any]:
    released: dict[str, Any] = json.loads(RELEASED.read_text())
    return released


def _version() -> str:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def due() -> Iterator[str]:
    """Whether this version's schemas have yet to become the released ones."""
    released = _released()["version"]
    if released != _version():
        yield f"The released schemas are those of {released}, and this is {_version()}: make release-events"


def _of_samples() -> Iterator[str]:
    known, read = payloads(), readers(load(OVERLAY))
    yield from (f"{name} has no samples in tests/samples/events: make generated" for name in samples.missing())
    refused: dict[tuple[str, str], list[str]] = {}
    for file in samples.stored():
        if (reason := samples.problem(file, known)) is not None:
            refused.setdefault((file.parent.name, reason), []).append(file.name)
    for (name, reason), files in refused.items():
        by = ", ".join(f"{one.function} (Trigger {one.trigger})" for one in read.get(name, ()))
        yield f"tests/samples/events/{name}: {', '.join(files)}: {reason}. It would reach {by or 'nobody here'}."


def release() -> None:
    """Make the schemas of today the released ones."""
    RELEASED.write_text(json.dumps({"version": _version(), "schemas": schemas()}, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    """Print what is wrong; exits with 1 if anything is."""
    found = list(problems())
    if "--release" in sys.argv and not found:
        release()
    found += due()
    print("\n".join(found) or "Whoever reads an event as it was released can go on doing so.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
