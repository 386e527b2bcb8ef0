"""Who reaches whom in production: what each function needs by its own YAML, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from functions.operations import known, load
from tests.ship.built import Body, build, of_kind
from tests.ship.network import Outside, Pod, connects
from tests.ship.pods import pod_template

KNATIVE, PLAIN = "nats-production", "kubernetes-production"
BOTH = pytest.mark.parametrize("overlay", [KNATIVE, PLAIN])
SERVICE = "serving.knative.dev/service"
KOURIER = Pod({"app": "3scale-kourier-gateway"}, "kourier-system")
ACTIVATOR = Pod({"app": "activator"}, "knative-serving")
INGRESS = Pod({"eventing.knative.dev/brokerRole": "ingress"}, "knative-eventing")
STRANGER = Pod({"app": "anything"}, "elsewhere")
PROMETHEUS = Pod({"app.kubernetes.io/name": "prometheus"}, "monitoring")
INTERNET, METADATA, PRIVATE = Outside("8.8.8.8"), Outside("169.254.169.254"), Outside("10.1.2.3")


@dataclass(frozen=True)
class World:
    """An overlay's policies, and its pods as a cluster labels them."""

    policies: tuple[Body, ...]
    variables: Mapping[str, Mapping[str, Any]]
    emitting: frozenset[str]
    callee: Pod | None

    def pod(self, name: str) -> Pod:
        """A function's."""
        return Pod({SERVICE: name, **({"wake.dev/emits": "true"} if name in self.emitting else {})})

    def reaches(self, source: Pod | Outside, target: Pod | Outside, port: int) -> bool:
        """Whether one is let through to the other."""
        return connects(self.policies, source, target, port)


@cache
def world(overlay: str) -> World:
    """What is built."""
    bodies = build(overlay)
    functions = of_kind(bodies, "Service", "serving.") or of_kind(bodies, "Deployment")
    return World(
        policies=tuple(of_kind(bodies, "NetworkPolicy").values()),
        variables={name: _variables(functions[name]) for name in known()},
        emitting=frozenset(
            name for name in known() if "wake.dev/emits" in (functions[name]["metadata"].get("labels") or {})
        ),
        callee=KOURIER if overlay == KNATIVE else None,
    )


def _variables(function: Body) -> dict[str, Any]:
    template = pod_template(function)
    assert template is not None
    return {one["name"]: one for one in template["spec"]["containers"][0].get("env") or ()}


def reaching(overlay: str, target: Pod | Outside, port: int) -> set[str]:
    """The functions that reach something."""
    here = world(overlay)
    return {name for name in known() if here.reaches(here.pod(name), target, port)}


def having(overlay: str, wanted: Callable[[str], bool]) -> set[str]:
    """The functions with such a variable."""
    return {name for name, variables in world(overlay).variables.items() if any(map(wanted, variables))}


@BOTH
def test_who_has_a_database_reaches_pgbouncer_and_nobody_reaches_the_database(overlay: str) -> None:
    """PgBouncer does, and the Jobs that migrate."""
    pooler, database = Pod({"app.kubernetes.io/name": "pgbouncer"}), PRIVATE
    jobs = of_kind(build(overlay), "Job")

    assert reaching(overlay, pooler, 6432) == having(overlay, lambda name: name.endswith("DATABASE_URL"))
    assert reaching(overlay, database, 5432) == set()
    assert world(overlay).reaches(pooler, database, 5432)
    assert all(world(overlay).reaches(Pod({"batch.kubernetes.io/job-name": one}), database, 5432) for one in jobs)


@BOTH
def test_who_has_a_cache_reaches_it(overlay: str) -> None:
    """By the variable that names it."""
    assert reaching(overlay, PRIVATE, 6379) == having(overlay, lambda name: name == "CACHE_URL")


@BOTH
def test_only_what_pays_is_let_out_and_only_to_the_internet(overlay: str) -> None:
    """Not to the cloud's metadata service, nor to a neighbour."""
    assert reaching(overlay, INTERNET, 443) == opening("processor")
    assert reaching(overlay, METADATA, 443) | reaching(overlay, PRIVATE, 443) | reaching(overlay, INTERNET, 80) == set()
    assert reaching(overlay, STRANGER, 80) | reaching(overlay, STRANGER, 443) == set()


@BOTH
def test_who_emits_events_reaches_the_broker(overlay: str) -> None:
    """By the label that gives it a sink."""
    broker = INGRESS if overlay == KNATIVE else Pod({"app.kubernetes.io/name": "broker"})

    assert reaching(overlay, broker, 8080) == world(overlay).emitting


@BOTH
def test_who_calls_another_function_reaches_it(overlay: str) -> None:
    """By Kourier's inner gateway, or itself: what asks users, subscribers or the processor, and what sends webhooks."""
    calling = set().union(*map(opening, ("buyers", "processor", "subscribers"))) | having(overlay, "WEBHOOK_URL".__eq__)

    if overlay == KNATIVE:
        assert reaching(overlay, KOURIER, 8081) == calling
    else:
        assert reaching(overlay, world(overlay).pod("users-rpc"), 8080) == calling


def opening(resource: str) -> set[str]:
    """The functions whose code opens such a resource: what they call and whose address is every function's setting."""
    return {name for name in known() if resource in load(name).resources}


def callers(overlay: str) -> Iterator[tuple[Pod, int]]:
    """What brings requests and events, and to which port."""
    if overlay == KNATIVE:
        yield from ((one, port) for one in (KOURIER, ACTIVATOR) for port in (8012, 8013))
        yield Pod({"app": "autoscaler"}, "knative-serving"), 9090
    else:
        yield from ((Pod({"app.kubernetes.io/name": one}), 8080) for one in ("broker", "gateway", "ping"))


@BOTH
def test_every_function_is_reached_by_what_brings_requests_and_by_nobody_else(overlay: str) -> None:
    """Nobody in another namespace, no other function past the gateway; Prometheus reads the figures."""
    here = world(overlay)
    for name in known():
        pod = here.pod(name)
        assert all(here.reaches(one, pod, port) for one, port in callers(overlay)), name
        assert here.reaches(PROMETHEUS, pod, 8080)
        assert not here.reaches(Pod({}, "monitoring"), pod, 8080)
        assert not any(here.reaches(STRANGER, pod, port) for port in (8012, 8013, 8080, 9090))
        assert not here.reaches(here.pod("users-keys"), pod, 8080)
        assert not here.reaches(here.pod("users-keys"), pod, 8012)


@BOTH
def test_everybody_resolves_names(overlay: str) -> None:
    """Or nobody would reach anything."""
    dns = Pod({"k8s-app": "kube-dns"}, "kube-system")

    assert reaching(overlay, dns, 53) == set(known())


def test_rabbitmqs_own_pods_work_in_this_namespace() -> None:
    """eventing-rabbitmq starts them where the Broker is."""
    policies = of_kind(build("rabbitmq+cache+production+spread"), "NetworkPolicy").values()
    ingress, dispatcher = (Pod({"eventing.knative.dev/brokerRole": one}) for one in ("ingress", "dispatcher"))

    assert connects(policies, world(KNATIVE).pod("orders-place"), ingress, 8080)
    assert connects(policies, ingress, PRIVATE, 5672)
    assert connects(policies, dispatcher, KOURIER, 8081)
    assert not connects(policies, STRANGER, ingress, 8080)


@BOTH
def test_what_may_run_beside_the_functions_is_let_through(overlay: str) -> None:
    """A Collector, where there is one; and Prometheus to its figures."""
    collector = Pod({"app.kubernetes.io/name": "collector"})
    reaches = world(overlay).reaches

    assert reaches(ACTIVATOR, collector, 4317)
    assert reaches(collector, PRIVATE, 9200)
    assert reaches(PROMETHEUS, collector, 8889)
    assert not reaches(STRANGER, collector, 4317)
    assert not reaches(collector, PRIVATE, 5432)


def test_the_gateway_is_everybodys() -> None:
    """The plain Envoy on either cluster, and our own Broker's server."""
    gateway, broker = (Pod({"app.kubernetes.io/name": one}) for one in ("gateway", "broker"))

    assert world(KNATIVE).reaches(INTERNET, gateway, 8080)
    assert world(KNATIVE).reaches(gateway, KOURIER, 8081)
    assert world(PLAIN).reaches(STRANGER, gateway, 8080)
    assert world(PLAIN).reaches(gateway, world(PLAIN).pod("orders-place"), 8080)
    assert world(PLAIN).reaches(broker, PRIVATE, 4222)
    assert world(PLAIN).reaches(PROMETHEUS, broker, 8080)
    assert not world(PLAIN).reaches(STRANGER, broker, 8080)
