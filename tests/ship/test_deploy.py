"""`make deploy-check`: what a cluster must have first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative.runtime.cluster import Cluster, ask
from knative.runtime.deploy import missing
from knative.runtime.kustomize import collect
from tests.ship.built import OVERLAYS, ROOT

EMPTY = Cluster(frozenset(), frozenset(), {})
HOST = "The Service postgresql leads to postgresql.example.com: name your own server there."
# A cluster that answers kubectl as the real API does, as far as it is asked.
API: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": name,
                "singularName": "",
                "namespaced": name != "namespaces",
                "kind": kind,
                "verbs": ["get", "list"],
            }
            for name, kind in (("configmaps", "ConfigMap"), ("namespaces", "Namespace"), ("secrets", "Secret"))
        ],
    },
    "/api/v1/namespaces/shop/secrets": {
        "kind": "SecretList",
        "apiVersion": "v1",
        "items": [
            {"metadata": {"name": "orders-database"}, "data": {"url": "eA==", "direct-url": "eA=="}},
            {"metadata": {"name": "empty"}},
        ],
    },
    "/api/v1/namespaces/knative-serving/configmaps/config-features": {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "config-features", "namespace": "knative-serving"},
        "data": {"_example": "...", "kubernetes.podspec-topologyspreadconstraints": "Enabled", "other": "disabled"},
    },
    "/api/v1/namespaces": {
        "kind": "NamespaceList",
        "apiVersion": "v1",
        "items": [
            {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}} for name in ("kube-system", "shop")
        ],
    },
}


def lacking(overlay: str, cluster: Cluster) -> str:
    """What is missing for an overlay, line by line."""
    return "\n".join(missing(collect(OVERLAYS / overlay), cluster))


def complete(overlay: str) -> Cluster:
    """A cluster that has everything an overlay asks for, as its own words name it."""
    said = [line for line in lacking(overlay, EMPTY).splitlines() if line != HOST]
    kinds = frozenset(line.split(" know ")[1].partition(":")[0] for line in said if " know " in line)
    secrets = {
        line.split(" Secret ")[1].partition(":")[0]: frozenset(line.split(" with ")[1].rstrip(".").split(", "))
        for line in said
        if " Secret " in line
    }
    namespaces = frozenset(line.split(" namespace ")[1].partition(",")[0] for line in said if " namespace " in line)
    features = frozenset(line.split(" say ")[1].partition(":")[0] for line in said if " say " in line)
    return Cluster(kinds, frozenset({"eg"}), secrets, features, namespaces)


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
    for overlay in ("kubernetes-production", "nats-production"):
        assert lacking(overlay, complete(overlay)) == HOST


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


def test_what_production_needs_is_asked_for() -> None:
    """The feature of Knative, PgBouncer's users, both of a database's URLs, and who the policies let in."""
    said = lacking("nats-production", EMPTY)

    assert (
        "Knative refuses topologySpreadConstraints: say kubernetes.podspec-topologyspreadconstraints: enabled in the "
        "ConfigMap config-features of knative-serving, or leave knative/components/spread out."
    ) in said
    assert "There is no Secret orders-database: create it with direct-url, url." in said
    assert "There is no Secret pgbouncer: create it with userlist.txt." in said
    assert (
        "There is no namespace kourier-system, which NetworkPolicies let in or out: name yours in their place." in said
    )
    assert "namespace monitoring" not in said


def test_an_autoscaler_needs_somebody_who_measures() -> None:
    """Or it stays at its least for ever."""
    assert "does not know metrics.k8s.io/v1beta1 PodMetrics: install metrics-server." in lacking("kubernetes", EMPTY)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes kubectl's current context a cluster that has what API says."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = API.get(self.path.partition("?")[0])
            body = json.dumps(
                found or {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            ).encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        (tmp_path / "config").write_text(
            yaml.safe_dump(
                {
                    "current-context": "here",
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": ""}}],
                    "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                }
            )
        )
        yield
        server.shutdown()
        thread.join()


def test_a_cluster_is_asked_for_names_only(api: None) -> None:
    """By the real kubectl."""
    asked = ask("shop", production=True)

    assert asked.kinds == {"v1 ConfigMap", "v1 Namespace", "v1 Secret"}
    assert asked.secrets == {"orders-database": {"url", "direct-url"}}
    assert asked.features == {"kubernetes.podspec-topologyspreadconstraints"}
    assert asked.namespaces == {"kube-system", "shop"}
    assert ask("shop", production=False).namespaces == frozenset()


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
