"""What is added to an overlay for those who watch over it builds with each of them, and is what Kubernetes takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from knative.runtime import kustomize
from tests.operations import observed
from tests.ship.built import KNATIVE, KUBERNETES, ROOT, Body, build, folder, of_kind

VERSION = "1.37"
COMPONENTS = ("observability", "logs", "collector")


@pytest.fixture(params=[*KNATIVE, *KUBERNETES])
def built(request: pytest.FixtureRequest) -> tuple[Body, ...]:
    """Each overlay with all of them, as somebody's own overlay has it."""
    with folder("+".join((request.param, *COMPONENTS))) as place:
        # `make deploy-check` and `wake render` read it themselves.
        ours = [one.body for one in kustomize.collect(place)]
    found = build("+".join((request.param, *COMPONENTS)))
    assert sorted(map(canonical, found)) == sorted(map(canonical, ours))
    return found


def canonical(body: Any) -> str:
    """The same for what is the same."""
    return json.dumps(body, sort_keys=True)


def test_an_overlay_takes_them(built: tuple[Body, ...]) -> None:
    """Kubernetes' schemas, strictly; the rules and the dashboard are those of the files; somebody stays awake."""
    added = [of_kind(built, "DaemonSet")["filebeat"], of_kind(built, "Deployment")["collector"]]
    rule = of_kind(built, "PrometheusRule")["wake"]
    dashboard = of_kind(built, "ConfigMap")["wake-dashboard"]
    measure = of_kind(built, "Service", "serving.").get("backlog-measure")

    for one in added:
        kubernetes_validate.validate(dict(one), VERSION, strict=True)
    assert rule["spec"] == yaml.safe_load(observed.RULES.read_text())
    assert dashboard["metadata"]["labels"] == {"grafana_dashboard": "1"}
    for file in ("observability/dashboards/wake.json", "logs/filebeat.yml", "collector/collector.yaml"):
        held = [one["data"].get(Path(file).name) for one in of_kind(built, "ConfigMap").values()]
        assert (ROOT / "knative/components" / file).read_text() in held
    if measure is not None:
        assert measure["spec"]["template"]["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "1"


def test_every_pod_that_shows_metrics_is_found(built: tuple[Body, ...]) -> None:
    """By the labels and the port's name that the PodMonitors look for; Knative calls each function's port user-port."""
    monitors = of_kind(built, "PodMonitor")
    asked = {one["port"] for one in monitors["wake-deployments"]["spec"]["podMetricsEndpoints"]}
    pods = [one["spec"]["template"] for one in of_kind(built, "Deployment").values()]
    ours = [pod for pod in pods if "wake" in pod["spec"]["containers"][0]["image"]]

    for pod in ours:
        assert "app.kubernetes.io/name" in pod["metadata"]["labels"]
        assert {port["name"] for port in pod["spec"]["containers"][0]["ports"]} & asked
    assert monitors["wake-functions"]["spec"]["podMetricsEndpoints"][0]["port"] == "user-port"


def test_the_collector_s_pipelines_name_what_is_configured() -> None:
    """Each receiver, processor, exporter and extension, and nothing besides."""
    text = (ROOT / "knative/components/collector/collector.yaml").read_text()
    configuration = yaml.safe_load(text)
    pipelines = configuration["service"]["pipelines"].values()

    for kind in ("receivers", "processors", "exporters"):
        assert {name for one in pipelines for name in one[kind]} == configuration[kind].keys()
    assert set(configuration["service"]["extensions"]) == configuration["extensions"].keys()
    assert [one["type"] for one in configuration["processors"]["tail_sampling"]["policies"]] == [
        "status_code",
        "latency",
        "probabilistic",
    ]
