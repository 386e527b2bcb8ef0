"""What the production components promise: connections that the databases have, and replicas that stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from functions.operations import known
from tests import poolers
from tests.ship.built import Body, build, of_kind
from tests.ship.network import selects
from tests.ship.pods import pod_template

PRODUCTION = ("nats-production", "kubernetes-production", "rabbitmq+cache+production+spread")
EACH = pytest.mark.parametrize("overlay", PRODUCTION)
# While all pods are replaced, as many again run beside them.
REPLACED = 2
HOT = {"orders-confirm", "orders-place", "payments-charge", "users-rpc"}


def settings(overlay: str) -> dict[str, str]:
    """The ConfigMap of all functions."""
    return dict(of_kind(build(overlay), "ConfigMap")["wake"]["data"])


def pgbouncer(overlay: str) -> Any:
    """The configuration that is shipped."""
    return poolers.read(of_kind(build(overlay), "ConfigMap")["pgbouncer"]["data"]["pgbouncer.ini"])


def pods_max(overlay: str) -> dict[str, int]:
    """How many pods each function may have, old and new."""
    bodies = build(overlay)
    services = of_kind(bodies, "Service", "serving.")
    scales = {name: int(_annotation(one, "max-scale")) for name, one in services.items()} or {
        name: int(one["spec"]["maxReplicas"]) for name, one in of_kind(bodies, "HorizontalPodAutoscaler").items()
    }
    assert scales.keys() == set(known())
    # Knative's 0 is no limit at all.
    assert all(scales.values())
    return {name: count * REPLACED for name, count in scales.items()}


def _annotation(service: Body, name: str) -> str:
    return str(service["spec"]["template"]["metadata"]["annotations"].get(f"autoscaling.knative.dev/{name}", "0"))


def databases(function: Body) -> list[str]:
    """The Secrets of the databases that a function has a pool for."""
    template = pod_template(function)
    assert template is not None
    return [
        one["valueFrom"]["secretKeyRef"]["name"]
        for one in template["spec"]["containers"][0].get("env") or ()
        if one["name"].endswith("DATABASE_URL")
    ]


@EACH
def test_pgbouncer_takes_every_pool_of_every_pod(overlay: str) -> None:
    """Pods x pools x connections, even where one of its pods has all of them."""
    bodies = build(overlay)
    functions = of_kind(bodies, "Service", "serving.") or of_kind(bodies, "Deployment")
    pool = int(settings(overlay)["DATABASE_POOL_MAX"])
    connections = sum(count * pool * len(databases(functions[name])) for name, count in pods_max(overlay).items())

    assert 1000 < connections <= int(pgbouncer(overlay)["pgbouncer"]["max_client_conn"])


@EACH
def test_the_server_takes_every_connection_of_pgbouncer(overlay: str) -> None:
    """With what is kept for migrations and people, also while PgBouncer's own pods are replaced."""
    bodies = build(overlay)
    deployment = of_kind(bodies, "Deployment")["pgbouncer"]["spec"]
    stated = of_kind(bodies, "Service", "v1")["postgresql"]["metadata"]["annotations"]
    pods = deployment["replicas"] + deployment["strategy"]["rollingUpdate"]["maxSurge"]
    configured = pgbouncer(overlay)
    connections = pods * len(configured["databases"]) * int(configured["pgbouncer"]["max_db_connections"])

    assert connections + int(stated["wake.dev/reserved-connections"]) <= int(stated["wake.dev/max-connections"])


@EACH
def test_pgbouncer_serves_every_database_alike(overlay: str) -> None:
    """One line each, with the time-outs that functions ask for and are not passed on."""
    entries = pgbouncer(overlay)["databases"]

    assert set(entries) == {f"wake_{one}" for one in ("users", "orders", "payments", "cards", "deadletters")}
    assert len(set(entries.values())) == 1


@EACH
def test_functions_go_through_pgbouncer_and_migrations_past_it(overlay: str) -> None:
    """By two keys of one Secret: a migration may take long, and wants a session of its own."""
    keys: dict[str, set[str]] = {}
    for kind, name, key in _urls(build(overlay)):
        assert name.endswith("-database")
        keys.setdefault(kind, set()).add(key)

    assert keys.pop("Job") == {"direct-url"}
    assert set().union(*keys.values()) == {"url"}
    assert settings(overlay)["DATABASE_STATEMENT_CACHE_SIZE"] == "0"


def _urls(bodies: tuple[Body, ...]) -> Iterator[tuple[str, str, str]]:
    """Each variable that holds a database's URL: whose, its Secret and key."""
    for body in bodies:
        template = pod_template(body)
        if template is None:
            continue
        pod = template["spec"]
        for container in [*pod["containers"], *(pod.get("initContainers") or ())]:
            for one in container.get("env") or ():
                if one["name"].endswith("DATABASE_URL"):
                    reference = one["valueFrom"]["secretKeyRef"]
                    yield body["kind"], reference["name"], reference["key"]


@EACH
def test_what_an_order_passes_never_sleeps_and_stays_while_a_node_is_drained(overlay: str) -> None:
    """Two replicas at least and a budget of one; what may have none or one has no budget, which would keep its node."""
    bodies = build(overlay)
    services = of_kind(bodies, "Service", "serving.")
    least = {name: int(_annotation(one, "min-scale")) for name, one in services.items()} or {
        name: int(one["spec"]["minReplicas"]) for name, one in of_kind(bodies, "HorizontalPodAutoscaler").items()
    }
    fixed = {
        name: int(one["spec"]["replicas"])
        for name, one in of_kind(bodies, "Deployment").items()
        if "replicas" in one["spec"]
    }
    budgets = of_kind(bodies, "PodDisruptionBudget")

    assert {name for name, count in least.items() if count >= 2} == HOT
    assert budgets.keys() == HOT | fixed.keys()
    assert all({**least, **fixed}[name] > one["spec"]["minAvailable"] == 1 for name, one in budgets.items())


@EACH
def test_every_budget_selects_the_pods_that_it_is_for(overlay: str) -> None:
    """Those of a Deployment by its own labels, those of a function by the label that Knative gives them."""
    bodies = build(overlay)
    deployments = of_kind(bodies, "Deployment")
    for name, budget in of_kind(bodies, "PodDisruptionBudget").items():
        labels = {"serving.knative.dev/service": name}
        if name in deployments:
            labels = deployments[name]["spec"]["template"]["metadata"]["labels"]
        assert selects(budget["spec"]["selector"], labels), name
        assert not selects(budget["spec"]["selector"], {"app.kubernetes.io/name": "other"})


@EACH
def test_every_pod_asks_for_what_it_uses_and_is_held_to_it(overlay: str) -> None:
    """Jobs too; an autoscaler reckons with what is asked for."""
    for body in build(overlay):
        template = pod_template(body)
        pod = {} if template is None else template["spec"]
        for container in [*pod.get("containers", ()), *(pod.get("initContainers") or ())]:
            resources = container["resources"]
            assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


@EACH
def test_pods_are_spread(overlay: str) -> None:
    """Over zones and machines, as far as that can be had."""
    bodies = build(overlay)
    for one in (*of_kind(bodies, "Service", "serving.").values(), *of_kind(bodies, "Deployment").values()):
        template = pod_template(one)
        assert template is not None
        keys = {each["topologyKey"] for each in template["spec"]["topologySpreadConstraints"]}
        assert "kubernetes.io/hostname" in keys
