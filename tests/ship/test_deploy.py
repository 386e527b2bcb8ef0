"""`make deploy-check`: what a cluster must have first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from knative.runtime.deploy import Cluster, missing
from knative.runtime.kustomize import collect
from tests.ship.built import OVERLAYS, ROOT

EMPTY = Cluster(frozenset(), frozenset(), {})


def lacking(overlay: str, cluster: Cluster) -> str:
    """What is missing for an overlay, line by line."""
    return "\n".join(missing(collect(OVERLAYS / overlay), cluster))


def complete(overlay: str) -> Cluster:
    """A cluster that has everything an overlay asks for, as its own words name it."""
    said = lacking(overlay, EMPTY).splitlines()
    kinds = frozenset(line.split(" know ")[1].partition(":")[0] for line in said if " know " in line)
    secrets = {
        line.split(" Secret ")[1].partition(":")[0]: frozenset(line.split(" with ")[1].rstrip(".").split(", "))
        for line in said
        if " Secret " in line
    }
    return Cluster(kinds, frozenset({"eg"}), secrets)


def test_an_empty_cluster_lacks_everything_by_name() -> None:
    """Serving, Eventing, the channel, the Gateway API, each Secret with its keys."""
    said = lacking("nats", EMPTY)

    assert "The cluster does not know serving.knative.dev/v1 Service: install Knative Serving." in said
    assert "The cluster does not know eventing.knative.dev/v1 Broker: install Knative Eventing." in said
    assert (
        "The cluster does not know eventing.knative.dev/v1beta3 EventType: install Knative Eventing 1.15 or newer."
        in said
    )
    assert "messaging.knative.dev/v1alpha1 NatsJetStreamChannel: install eventing-natss." in said
    assert "gateway.networking.k8s.io/v1 HTTPRoute: install the Gateway API, or use an overlay with" in said
    assert "There is no Secret orders-database: create it with url." in said
    assert "There is no Secret token-keys: create it with private.json, public.json." in said


def test_a_complete_cluster_lacks_nothing() -> None:
    """Of any overlay."""
    for overlay in ("kafka", "kubernetes", "nats", "nats-envoy", "rabbitmq"):
        assert lacking(overlay, complete(overlay)) == ""


def test_a_secret_without_a_key_is_named_with_it() -> None:
    """And so is a GatewayClass that is called otherwise."""
    there = complete("nats")
    almost = Cluster(there.kinds, frozenset({"istio"}), {**there.secrets, "token-keys": frozenset({"public.json"})})

    assert lacking("nats", almost).splitlines() == [
        "There is no GatewayClass eg (there is istio): name yours in knative/components/cluster.",
        "The Secret token-keys has no private.json: add what is missing.",
    ]


def test_rabbitmqs_credentials_are_asked_for() -> None:
    """They are no variable of a pod, the Broker itself reads them."""
    assert "There is no Secret rabbitmq: create it with password, uri, username." in lacking("rabbitmq", EMPTY)


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    """With what kubectl itself said."""
    done = subprocess.run(
        [sys.executable, "-m", "knative.runtime.deploy", "knative/overlays/nats"],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path), "KUBERNETES_MASTER": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("No cluster answers (set KUBECONFIG or kubectl's context); kubectl said: ")
    assert "Traceback" not in done.stderr
