"""The same YAML on a cluster without Knative: nothing is lost, and nothing leads nowhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from knative.runtime import kubernetes, render
from knative.runtime.kustomize import collect
from tests.ship.built import OVERLAYS, build, of_kind

_HOST = re.compile(r"https?://([a-z0-9-]+)\.shop\.svc\.cluster\.local")
SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: rpc
  namespace: shop
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/minScale: "3"
    spec:
      containers:
        - image: example.com/rpc
          ports:
            - name: h2c
              containerPort: 9000
          readinessProbe:
            grpc: {}
"""
PING = """
---
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata:
  name: tick
  namespace: shop
spec:
  schedule: "*/10 * * * * *"
  sink:
    ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: rpc}
"""


def test_every_function_source_and_job_is_there() -> None:
    """Under its own name."""
    bodies, knative = build("kubernetes"), build("local")
    functions = of_kind(knative, "Service", "serving.").keys()

    for kind in ("Deployment", "Service", "HorizontalPodAutoscaler"):
        assert functions <= of_kind(bodies, kind).keys()
    assert of_kind(bodies, "CronJob").keys() == of_kind(knative, "PingSource").keys()
    assert of_kind(bodies, "Job").keys() == of_kind(knative, "Job").keys()
    assert not any("knative.dev" in one["apiVersion"] for one in bodies)


def test_every_address_is_one_of_its_services() -> None:
    """The sinks, the Triggers' subscribers, the gateway's clusters and the settings."""
    bodies = build("kubernetes")
    named = set(_HOST.findall(json.dumps(bodies)))

    assert len(named) > 10
    assert named <= of_kind(bodies, "Service").keys()


def test_what_emits_events_has_our_broker_as_its_sink() -> None:
    """What a SinkBinding does on Knative."""
    emitting = {
        name
        for name, one in of_kind(build("local"), "Service", "serving.").items()
        if "wake.dev/emits" in (one["metadata"].get("labels") or {})
    }
    sinks = {
        name: variable["value"]
        for name, one in of_kind(build("kubernetes"), "Deployment").items()
        for variable in one["spec"]["template"]["spec"]["containers"][0].get("env", [])
        if variable["name"] == "K_SINK"
    }

    assert sinks == dict.fromkeys(emitting, "http://broker.shop.svc.cluster.local/shop/default")


def test_the_broker_serves_every_trigger() -> None:
    """With every reference a URL, as it takes them."""
    configuration = of_kind(build("kubernetes"), "ConfigMap")["broker"]["data"]["broker.yaml"]
    served = [one for one in yaml.safe_load_all(configuration) if one["kind"] == "Trigger"]

    assert {one["metadata"]["name"] for one in served} == of_kind(build("local"), "Trigger").keys()
    assert all(one["spec"]["subscriber"]["uri"].startswith("http://") for one in served)


def test_a_pod_may_take_as_long_to_end_as_a_request() -> None:
    """Knative's grace is the Service's timeoutSeconds."""
    pod = of_kind(build("kubernetes"), "Deployment")["orders-place"]["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] == 305


def rendered(folder: Path, text: str) -> dict[tuple[str, str], dict]:
    """The objects of one file of YAML by kind and name."""
    file = folder / "service.yaml"
    file.write_text(text)
    return {(one["kind"], one["metadata"]["name"]): one for one in kubernetes.render(collect(file))}


def test_grpc_is_announced_as_h2c(tmp_path: Path) -> None:
    """Or a mesh or load balancer would speak HTTP/1.1 to it."""
    made = rendered(tmp_path, SERVICE)

    (port,) = made["Service", "rpc"]["spec"]["ports"]
    assert port == {"name": "h2c", "appProtocol": "kubernetes.io/h2c", "port": 80, "targetPort": 9000}
    (container,) = made["Deployment", "rpc"]["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"] == {"grpc": {"port": 9000}}
    assert made["HorizontalPodAutoscaler", "rpc"]["spec"]["minReplicas"] == 3


def test_a_schedule_with_seconds_is_refused(tmp_path: Path) -> None:
    """A CronJob has none; silently rounding would be another schedule."""
    with pytest.raises(kubernetes.NotRenderable, match="tick: a CronJob knows no seconds"):
        rendered(tmp_path, SERVICE + PING)


def test_a_traffic_split_is_refused(tmp_path: Path) -> None:
    """All of it would go to the latest."""
    split = "  traffic: [{revisionName: rpc-00001, percent: 90}, {latestRevision: true, percent: 10}]\n"

    with pytest.raises(kubernetes.NotRenderable, match="Service rpc: a Deployment has no revisions"):
        rendered(tmp_path, SERVICE + split)


def test_what_is_rendered_is_admitted_first(tmp_path: Path) -> None:
    """An error is one of the YAML, with its line, not one of the cluster."""
    file = tmp_path / "service.yaml"
    file.write_text(SERVICE.replace("containerPort: 9000", "containerPort: 9090"))

    with pytest.raises(render.ManifestErrors, match="Knative's own"):
        render.text(collect(file), "kubernetes")


def test_the_local_overlay_can_be_rendered_in_every_form() -> None:
    """The form of a cluster without Knative is what is committed, but for what only a laptop tells everybody."""
    documents = collect(OVERLAYS / "local")
    local = render.text(documents, "kubernetes")

    assert "  GRPC_REFLECTION: 'on'\n" in local
    assert local.replace("  GRPC_REFLECTION: 'on'\n", "") in (OVERLAYS / "kubernetes/wake.yaml").read_text()
