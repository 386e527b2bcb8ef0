"""`python -m tests.checks.manifests`: the YAML and the code say the same; one line for each thing that differs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from functions.app import Operation
from functions.catalogue import payloads
from functions.events import EventRefused
from functions.migrated import FOLDERS
from functions.operations import known
from functions.operations import load as load_operation
from knative.runtime.kustomize import ManifestErrors
from knative.runtime.manifests import load
from knative.runtime.resources import Container, Platform
from tests.checks.traffic import emitters, readers

ROOT = Path(__file__).parent.parent.parent
# With every part that an installation may have.
OVERLAY = ROOT / "knative/overlays/cached"
# Events that nobody is woken by, and why they are recorded all the same.
READ_BY_NOBODY = {
    "users.registered.v1": "for other teams: a welcome mail, a customer record",
    "payments.refunded.v1": "for other teams: telling the buyer",
}


def problems() -> Iterator[str]:
    """What differs."""
    try:
        platform = load(OVERLAY)
    except ManifestErrors as errors:
        yield from map(str, errors.errors)
        return
    yield from (f"{os.path.relpath(file, ROOT)} is in no kustomization.yaml" for file in platform.unlisted)
    yield from _operations(platform)
    yield from _private(platform)
    yield from _migrations(platform)
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


def _private(platform: Platform) -> Iterator[str]:
    """What takes events is called inside the cluster only: anybody's event would be obeyed, anybody's dry run told."""
    visibility = "networking.knative.dev/visibility"
    for (_, name), service in platform.services.items():
        app = load_operation(name) if name in known() else None
        takes_events = isinstance(app, Operation) and any(getattr(route, "path", "") == "/" for route in app.routes)
        if takes_events and service.labels.get(visibility) != "cluster-local":
            yield f"{name} takes events, and its Service is not {visibility}: cluster-local"


def _migrations(platform: Platform) -> Iterator[str]:
    """What a Job applies to a database is what the functions of that database wait for."""
    applied = {}
    for job in platform.jobs:
        for container in (*job.init_containers, *job.containers):
            if container.command == ("dbmate",):
                folders = [arg.partition("=")[2] for arg in container.args if arg.startswith("--migrations-dir=")]
                applied[_database(container)] = (job.name, tuple(folders))
    for name, folders in FOLDERS.items():
        if applied.pop(name, None) != (f"{name}-migrate", folders):
            yield f"the Job {name}-migrate does not apply what functions/migrated.py waits for: {', '.join(folders)}"
    yield from (f"no function waits for what the Job {job} applies" for job, _ in applied.values())
    for (_, name), service in platform.services.items():
        database = _database(service.container)
        if database is not None and name in known() and load_operation(name).database != database:
            yield f"{name} waits for the migrations of {load_operation(name).database}, and its database is {database}"


def _database(container: Container) -> str | None:
    """Whose the database is that DATABASE_URL leads to, by the Secret that it comes from."""
    secrets = [one.secret[0] for one in container.variables if one.name == "DATABASE_URL" and one.secret is not None]
    return secrets[0].removesuffix("-database") if secrets else None


def _routes(platform: Platform) -> Iterator[str]:
    """Whoever may GET may HEAD (RFC 9110, section 9.3.2), which a HTTPRoute has to say."""
    for route in platform.routes:
        heads = {(one.kind, one.value) for one in route.matches if one.method == "HEAD"}
        for one in route.matches:
            if one.method == "GET" and (one.kind, one.value) not in heads:
                yield f"the route of {route.service[1]} takes GET {one.value} and no HEAD"


def _events(platform: Platform) -> Iterator[str]:
    """Every Trigger wants an event that there is; every event is emitted, and read or listed as read by nobody."""
    read, emitted = readers(platform), emitters()
    read_by = {one.trigger for by in read.values() for one in by}
    for name in sorted({trigger.name for trigger in platform.triggers} - read_by):
        yield f"Trigger {name} wants an event that is not in functions/events.py"
    for one, by in sorted(read.items()):
        if bool(by) == (one in READ_BY_NOBODY):
            yield f"{one} {'has a reader, and is listed as having none' if by else 'wakes nobody'}"
        if not emitted[one] and not issubclass(payloads()[one], EventRefused):
            yield f"{one} is emitted by no function"
    sinks = {name for (_, name), service in platform.services.items() if service.sink is not None}
    for name in sorted({name for by in emitted.values() for name in by} - sinks):
        yield f"{name} records events and has no sink: label its Service wake.dev/emits"


def main() -> None:
    """Print what differs; exits with 1 if anything does."""
    found = list(problems())
    print("\n".join(found) or "The manifests and the code say the same.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
