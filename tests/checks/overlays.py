"""`python -m tests.checks.overlays`: what kubectl builds of every overlay with every component is what clusters take.

Held against Knative's admission as the runtime knows it, Knative's own types and schemas, Kubernetes' schemas, and
checkov, for which each Knative Service is rendered as a Deployment. Mistakes are planted, and each has to be found.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import kubernetes_validate

from knative.runtime import admission
from knative.runtime.fields import FIELDS, SPREAD_FEATURE
from knative.runtime.kustomize import Document
from tests.checks import checkov, knative_types
from tests.checks.planted import Planted, plant
from tests.ship.built import OVERLAYS, ROOT, Body, build, of_kind
from tests.ship.pods import kubernetes_objects

KUBERNETES = "1.37"
BASES = ("kafka", "nats", "nats-envoy", "rabbitmq")
ADDED = ("", "+cache", "+production", "+cache+production", "+production+spread", "+cache+production+spread")
# Components that another brings, or an overlay above.
INNER = frozenset({"cluster", "gateway-envoy", "network", "pgbouncer", "production-kubernetes"})
FURTHER = sorted(
    folder.name
    for folder in (ROOT / "knative/components").iterdir()
    if folder.name not in INNER and not any(folder.name in added.split("+") for added in ADDED)
)
COMBINATIONS = (
    *(base + added for base in BASES for added in ADDED),
    *(f"nats+production+{one}" for one in FURTHER),
    *("nats-production", "kubernetes", "kubernetes+production-kubernetes", "kubernetes-production"),
)
# For laptops: they are built, and no cluster takes them.
LOCAL = ("local", "cached")
FEATURES = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "config-features", "namespace": "knative-serving"},
    "data": {SPREAD_FEATURE: "enabled"},
}
Built = Mapping[str, Sequence[Body]]


def main() -> None:
    """Print what is wrong; exits with 1 if anything is."""
    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        names = (*COMBINATIONS, *LOCAL)
        built = dict(zip(names, threads.map(build, names), strict=True))
    planted = list(plant(of_kind(built["nats-production"], "Service", "serving.")["orders-place"]))
    found = list(problems({name: built[name] for name in COMBINATIONS}, planted))
    print("\n".join(found) or f"{len(built)} overlays are what clusters take ({time.monotonic() - began:.0f} s).")
    sys.exit(1 if found else 0)


def problems(built: Built, planted: Sequence[Planted]) -> Iterator[str]:
    """A line each; what is planted is none, unless nobody has found it."""

    def run(name: str) -> list[str]:
        return list(dict.fromkeys(CHECKS[name](built, [one.body for one in planted if one.check == name])))

    with ThreadPoolExecutor(2) as threads:
        told = dict(zip(CHECKS, threads.map(run, CHECKS), strict=True))
    for name, lines in told.items():
        for one in (one for one in planted if one.check == name):
            if not any(line.startswith(f"{one.name}: ") and one.word in line for line in lines):
                yield f"{name} has not found what was planted: {one.name}, {one.word}"
        yield from (line for line in lines if not line.startswith("planted-"))


def by_admission(built: Built, more: Sequence[Body]) -> Iterator[str]:
    """What the runtime refuses as Knative does, where the features are on that an object needs."""
    for one in [*different(built.values()), *more]:
        if f"{one['apiVersion']} {one['kind']}" in FIELDS:
            flags = [FEATURES] if "topologySpreadConstraints" in json.dumps(one) else []
            for error in admission.check(Document(dict(each), OVERLAYS) for each in [one, *flags]):
                yield f"{one['metadata']['name']}: {error.field}: {error.reason}"


def by_types(built: Built, more: Sequence[Body]) -> Iterator[str]:
    """Knative's own objects, by its own types."""
    bodies = [one for one in [*different(built.values()), *more] if knative_types.is_theirs(one)]
    for place, text in knative_types.problems(bodies):
        yield f"{bodies[place]['metadata']['name']}: {text}"


def by_kubernetes(built: Built, more: Sequence[Body]) -> Iterator[str]:
    """Kubernetes' own objects, and every pod of Knative's."""
    for one in different([kubernetes_objects([*different(built.values()), *more])]):
        try:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{one['metadata']['name']}: {error.message}"


def by_checkov(built: Built, more: Sequence[Body]) -> Iterator[str]:
    """The same; what is ready for customers by more rules than what is not yet."""
    ready = {name: bodies for name, bodies in built.items() if "production" in name}
    there = {name: bodies for name, bodies in built.items() if name not in ready}
    for some, skipped in (([*ready.values(), more], checkov.SKIPPED), ([*there.values()], checkov.SKIPPED_THERE)):
        yield from checkov.problems(different(some), skipped)


def different(several: Iterable[Sequence[Body]]) -> list[Body]:
    """Most objects are the same in every overlay."""
    return list({json.dumps(one, sort_keys=True): one for bodies in several for one in bodies}.values())


CHECKS: Mapping[str, Callable[[Built, Sequence[Body]], Iterator[str]]] = {
    "checkov": by_checkov,
    "types": by_types,
    "kubernetes": by_kubernetes,
    "admission": by_admission,
}


if __name__ == "__main__":
    main()
