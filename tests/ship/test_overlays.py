"""Every overlay builds, and what it comes to is what Knative and Kubernetes take."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator

from eventing.filters import compile_filters
from functions.catalogue import payloads
from knative.runtime import admission, kustomize
from knative.runtime.fields import FIELDS
from knative.runtime.kustomize import Document
from tests.ship.built import KNATIVE, KUBERNETES, OVERLAYS, Body, build, folder, of_kind
from tests.ship.pods import as_deployment, dangers, kubernetes_objects, pod_template

VERSION = "1.37"
FEATURES = {"kubernetes.podspec-topologyspreadconstraints": "enabled"}
SPREADING = ("nats-production", "rabbitmq+cache+production+spread")
_REFERENCE = {
    "type": "object",
    "required": ["apiVersion", "kind", "name", "namespace"],
    "additionalProperties": False,
    "properties": {name: {"type": "string"} for name in ("apiVersion", "kind", "name", "namespace")},
}
# The parts of Knative's and the Gateway API's schemas that the runtime's own admission does not look into.
SCHEMAS: dict[str, Any] = {
    "Broker": {"properties": {"spec": {"required": ["config", "delivery"], "properties": {"config": _REFERENCE}}}},
    "RabbitmqBrokerConfig": {
        "properties": {
            "spec": {
                "additionalProperties": False,
                "properties": {
                    "vhost": {"type": "string"},
                    "queueType": {"enum": ["quorum", "classic"]},
                    "rabbitmqClusterReference": {
                        # A cluster by its name or by its credentials, not both.
                        "oneOf": [{"required": ["name"]}, {"required": ["connectionSecret"]}],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "namespace": {"type": "string"},
                            "connectionSecret": {"type": "object", "required": ["name"]},
                        },
                    },
                },
            }
        }
    },
    "Gateway": {
        "properties": {
            "spec": {
                "required": ["gatewayClassName", "listeners"],
                "properties": {"listeners": {"items": {"required": ["name", "port", "protocol"]}}},
            }
        }
    },
    "HTTPRoute": {
        "properties": {
            "spec": {
                "properties": {
                    "parentRefs": {"items": {"required": ["name"]}},
                    "rules": {
                        # The Gateway API takes at most 16 rules of at most 64 matches.
                        "maxItems": 16,
                        "items": {
                            "required": ["backendRefs", "matches"],
                            "properties": {
                                "matches": {"maxItems": 64},
                                "backendRefs": {"minItems": 1, "items": {"required": ["name", "port"]}},
                            },
                        },
                    },
                }
            }
        }
    },
    "ReferenceGrant": {
        "properties": {
            "spec": {
                "required": ["from", "to"],
                "properties": {
                    "from": {"items": {"required": ["group", "kind", "namespace"]}},
                    "to": {"items": {"required": ["group", "kind"]}},
                },
            }
        }
    },
}


@pytest.mark.parametrize("overlay", [*KNATIVE, *KUBERNETES, "local"])
def test_wake_render_prints_what_kubectl_kustomize_builds(overlay: str) -> None:
    """Two readings of the same folder; a laptop needs no kustomize."""
    with folder(overlay) as place:
        ours = [one.body for one in kustomize.collect(place)]

    assert sorted(json.dumps(one, sort_keys=True) for one in build(overlay)) == sorted(
        json.dumps(one, sort_keys=True) for one in ours
    )


def refusals(bodies: list[Body], features: Mapping[str, str]) -> list[str]:
    """What Knative would refuse, on a cluster where these features are on."""
    flags = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config-features", "namespace": "knative-serving"},
        "data": dict(features),
    }
    return [str(one) for one in admission.check(Document(dict(one), OVERLAYS) for one in [*bodies, flags])]


@pytest.mark.parametrize("overlay", KNATIVE)
def test_an_overlay_is_admitted(overlay: str) -> None:
    """By what refuses at `wake up` what Knative's webhooks refuse."""
    known = [one for one in build(overlay) if f"{one['apiVersion']} {one['kind']}" in FIELDS]

    assert {one["kind"] for one in known} >= {"Service", "Broker", "Trigger", "PingSource", "SinkBinding"}
    assert refusals(known, FEATURES if overlay in SPREADING else {}) == []


def test_knative_spreads_no_pods_unless_told_to() -> None:
    """Which `make deploy-check` says before its webhook does."""
    found = refusals(list(of_kind(build("nats-production"), "Service", "serving.").values())[:1], {})

    assert len(found) == 1
    assert "kubernetes.podspec-topologyspreadconstraints is on (config-features)" in found[0]


@pytest.mark.parametrize("overlay", KNATIVE)
def test_an_overlay_is_what_the_schemas_say(overlay: str) -> None:
    """Strictly, so that a misspelt field is found; every object is known to one schema or to the admission."""
    for one in build(overlay):
        if one["kind"] in SCHEMAS:
            Draft202012Validator(SCHEMAS[one["kind"]]).validate(one)
        known = one["kind"] in SCHEMAS or f"{one['apiVersion']} {one['kind']}" in FIELDS
        assert known or one in kubernetes_objects(build(overlay)), one["kind"]


def test_kubernetes_takes_every_object_and_every_pod() -> None:
    """Its own schemas, strictly; each Knative Service's pod as a Deployment."""
    seen = {
        json.dumps(one, sort_keys=True): one
        for name in (*KNATIVE, *KUBERNETES)
        for one in kubernetes_objects(build(name))
    }

    assert len(seen) > 30
    for one in seen.values():
        kubernetes_validate.validate(one, VERSION, strict=True)


def test_a_misspelt_field_of_a_pod_is_found() -> None:
    """Or the test above would show nothing."""
    body = copy.deepcopy(dict(of_kind(build("nats"), "Service", "serving.")["orders-place"]))
    body["spec"]["template"]["spec"]["containers"][0]["envform"] = []

    with pytest.raises(kubernetes_validate.ValidationError, match="envform"):
        kubernetes_validate.validate(as_deployment(body), VERSION, strict=True)


@pytest.mark.parametrize("overlay", [*KNATIVE, *KUBERNETES])
def test_no_pod_may_do_more_than_it_must(overlay: str) -> None:
    """The restricted Pod Security Standard, and a read-only root."""
    found = {
        one["metadata"]["name"]: list(dangers(template))
        for one in build(overlay)
        if (template := pod_template(one)) is not None
    }

    assert len(found) > 30
    assert {name: one for name, one in found.items() if one} == {}


def test_a_privileged_knative_service_is_caught() -> None:
    """Linters of Kubernetes do not look inside Knative's kinds."""
    body = copy.deepcopy(dict(of_kind(build("nats"), "Service", "serving.")["orders-place"]))
    body["spec"]["template"]["spec"]["containers"][0]["securityContext"] |= {"privileged": True}

    assert "user-container is privileged" in list(dangers(body["spec"]["template"]))
    assert any("privileged" in str(one) for one in admission.check([Document(body, OVERLAYS)]))


@pytest.mark.parametrize("overlay", KNATIVE)
def test_nobody_gets_an_event_twice_or_not_at_all_because_of_a_broker(overlay: str) -> None:
    """Every event wakes the same functions over every Broker; RabbitMQ's reads `filter` only."""
    triggers = of_kind(build(overlay), "Trigger").values()
    local = of_kind(build("cached" if "cache" in overlay else "local"), "Trigger").values()

    for kind in payloads():
        assert woken(triggers, kind) == woken(local, kind), kind
    if overlay.startswith("rabbitmq"):
        assert all("filters" not in one["spec"] for one in triggers)


def woken(triggers: Any, kind: str) -> list[str]:
    """The Services that an event of this type wakes."""
    return sorted(
        one["spec"]["subscriber"]["ref"]["name"] for one in triggers if compile_filters(one["spec"])({"type": kind})
    )


@pytest.mark.parametrize("overlay", [*KNATIVE, *KUBERNETES])
def test_only_secrets_are_left_to_fill_in(overlay: str) -> None:
    """None is shipped, and every ConfigMap that is named is there."""
    bodies = build(overlay)
    used = {source["configMapRef"]["name"] for one in bodies for source in _sources(one) if "configMapRef" in source}

    assert of_kind(bodies, "Secret") == {}
    assert used <= of_kind(bodies, "ConfigMap").keys()
    assert "dev.local" not in json.dumps(bodies)


def _sources(body: Body) -> list[dict[str, Any]]:
    template = pod_template(body)
    return [] if template is None else [one for box in template["spec"]["containers"] for one in box.get("envFrom", [])]
