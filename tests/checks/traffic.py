"""Who emits each event and who reads it, as the code and the manifests have it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from eventing.filters import compile_filters
from functions.app import Operation
from functions.catalogue import payloads
from functions.events import REFUSED
from functions.operations import known, load
from functions.payload import Payload
from knative.runtime.resources import Platform

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Reader:
    """A Trigger and the function that it wakes; `parses` is false for one that takes any event, whatever is in it."""

    trigger: str
    function: str
    parses: bool


def readers(platform: Platform) -> dict[str, list[Reader]]:
    """Who reads each type of event, by the filters of the Triggers."""
    found: dict[str, list[Reader]] = {event_type: [] for event_type in payloads()}
    for trigger in platform.triggers:
        wants, function = compile_filters(trigger.body["spec"]), str(trigger.subscriber.name)
        for event_type, payload in payloads().items():
            if wants({"specversion": "1.0", "type": event_type, "source": payload.source()}):
                found[event_type].append(Reader(trigger.name, function, event_type in parsed_by(function)))
    return found


def parsed_by(function: str) -> Mapping[str, type[Payload]]:
    """The payload classes that a function was written for, by type."""
    app = load(function) if function in known() else None
    # What answers gRPC takes no events.
    return {name: one for name, (one, _) in app._payloads.items()} if isinstance(app, Operation) else {}


def emitters() -> dict[str, list[str]]:
    """Which functions may emit each type: the module of each, or one of its area that it uses, makes the payload."""
    made = {name: _payloads_made(name) for name in known()}
    classes = {payload.__name__: event_type for event_type, payload in payloads().items()}
    found: dict[str, list[str]] = {event_type: [] for event_type in payloads()}
    for function, names in made.items():
        for name in names & set(classes):
            found[classes[name]].append(function)
        refused = REFUSED.get(function.partition("-")[0])
        if refused is not None and parsed_by(function):
            # functions/app.py does this for whoever takes an event of the catalogue.
            found[refused.TYPE].append(function)
    return found


def _payloads_made(function: str) -> set[str]:
    area, _, verb = function.partition("-")
    waiting, seen, made = [f"functions.{area}.{verb.replace('-', '_')}"], set[str](), set[str]()
    while waiting:
        module = waiting.pop()
        if module not in seen and module.startswith(f"functions.{area}"):
            seen.add(module)
            calls, imports = _read(module)
            made |= calls
            waiting += imports
    return made


@cache
def _read(module: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names that a module calls, and the modules that it may import."""
    file = ROOT / f"{module.replace('.', '/')}.py"
    tree = ast.parse(file.read_text() if file.exists() else "")
    calls = frozenset(
        node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    return calls, tuple(_imports(tree))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
