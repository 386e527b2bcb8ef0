"""`python -m tests.checks.manifests`: the YAML and the code say the same; one line for each thing that differs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from eventing.filters import compile_filters
from functions.events import Change, EventRefused, Payload
from functions.operations import known
from knative.runtime.kustomize import ManifestErrors
from knative.runtime.manifests import load
from knative.runtime.resources import Platform

ROOT = Path(__file__).parent.parent.parent
OVERLAY = ROOT / "knative/overlays/local"
# Events that nobody is woken by, and why they are recorded all the same.
READ_BY_NOBODY = {
    "users.registered.v1": "for other teams: a welcome mail, a customer record",
    "payments.refunded.v1": "for other teams: telling the buyer",
}


def catalogue() -> dict[str, type[Payload]]:
    """Every event class by its type."""
    found: dict[str, type[Payload]] = {}
    waiting = list(Payload.__subclasses__())
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one not in {Change, EventRefused}:
            found[one.TYPE] = one
    return found


def problems() -> Iterator[str]:
    """What differs."""
    try:
        platform = load(OVERLAY)
    except ManifestErrors as errors:
        yield from map(str, errors.errors)
        return
    yield from (f"{file} is in no kustomization.yaml" for file in platform.unlisted)
    yield from _operations(platform)
    yield from _routes(platform)
    yield from _events(platform)


def _operations(platform: Platform) -> Iterator[str]:
    """One operation, one name: its module, its Service, its file of YAML, its tests."""
    services = {name for _, name in platform.services}
    for name in sorted(services ^ set(known())):
        yield f"{name} is {'a Service without a function' if name in services else 'a function without a Service'}"
    for name in sorted(services & set(known())):
        area, _, verb = name.partition("-")
        file = f"{area}/{verb.replace('-', '_')}"
        if not (ROOT / f"knative/base/{file}.yaml").exists():
            yield f"{name} has no knative/base/{file}.yaml"
        tested = "\n".join(path.read_text() for path in (ROOT / f"tests/functions/{area}").glob("*.py"))
        if f'"{area}.{verb.replace("-", "_")}"' not in tested:
            yield f"{name} is in no test of tests/functions/{area}/"


def _routes(platform: Platform) -> Iterator[str]:
    """Whoever may GET may HEAD (RFC 9110, section 9.3.2), which a HTTPRoute has to say."""
    for route in platform.routes:
        heads = {(one.kind, one.value) for one in route.matches if one.method == "HEAD"}
        for one in route.matches:
            if one.method == "GET" and (one.kind, one.value) not in heads:
                yield f"the route of {route.service[1]} takes GET {one.value} and no HEAD"


def _events(platform: Platform) -> Iterator[str]:
    """Every Trigger wants an event that there is; every event has a reader, or is listed as having none."""
    types = catalogue()
    matches = [(trigger.name, compile_filters(trigger.body["spec"])) for trigger in platform.triggers]
    for name, wants in matches:
        if not any(wants({"type": one}) for one in types):
            yield f"Trigger {name} wants an event that is not in functions/events.py"
    for one in sorted(types):
        read = any(wants({"type": one}) for _, wants in matches)
        if read == (one in READ_BY_NOBODY):
            yield f"{one} {'has a reader, and is listed as having none' if read else 'wakes nobody'}"


def main() -> None:
    """Print what differs; exits with 1 if anything does."""
    found = list(problems())
    print("\n".join(found) or "The manifests and the code say the same.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
