"""`python -m knative.runtime.deploy OVERLAY`: what a cluster lacks before `kubectl apply -k OVERLAY`, in sentences.

It asks for names only: which kinds there are, which keys the Secrets have. No value is read, nothing is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from knative.runtime.cluster import Cluster, NoCluster, ask
from knative.runtime.fields import SPREAD_FEATURE
from knative.runtime.kustomize import Document, ManifestErrors, collect

# What an HPA on CPU asks; metrics-server or another brings it, and no manifest has one.
_METRICS = "metrics.k8s.io/v1beta1 PodMetrics"
# Where Prometheus would be: without it nobody asks for figures.
_OPTIONAL_NAMESPACES = frozenset({"monitoring"})
# What brings the kinds of an API group, most specific first.
_BRINGS = (
    ("serving.knative.dev", "Knative Serving"),
    ("eventing.knative.dev/v1alpha1", "the RabbitMQ Broker (eventing-rabbitmq)"),
    ("eventing.knative.dev/v1beta3", "Knative Eventing 1.15 or newer"),
    ("eventing.knative.dev", "Knative Eventing"),
    ("sources.knative.dev", "Knative Eventing"),
    ("messaging.knative.dev/v1alpha1", "eventing-natss"),
    ("messaging.knative.dev", "Knative Eventing"),
    ("metrics.k8s.io", "metrics-server"),
    ("monitoring.coreos.com", "the Prometheus operator"),
    ("gateway.networking.k8s.io", "the Gateway API, or use an overlay with knative/components/gateway-envoy"),
)


def missing(documents: Iterable[Document], cluster: Cluster) -> Iterator[str]:
    """What these documents need and the cluster lacks, a sentence each."""
    bodies = [one.body for one in documents]
    needed = {_kind(one) for body in bodies for one in (body, *_channels(body))}
    if any(body["kind"] == "HorizontalPodAutoscaler" for body in bodies):
        needed.add(_METRICS)
    lacking = sorted(needed - cluster.kinds)
    for kind in lacking:
        yield f"The cluster does not know {kind}: install {_brings(kind)}."
    for body in bodies:
        if body["kind"] == "Gateway" and not any("gateway.networking.k8s.io" in kind for kind in lacking):
            name = body["spec"]["gatewayClassName"]
            if name not in cluster.gateway_classes:
                there = ", ".join(sorted(cluster.gateway_classes)) or "none"
                yield f"There is no GatewayClass {name} (there is {there}): name yours in knative/components/cluster."
    for name, keys in sorted(_secrets(bodies).items()):
        absent = sorted(keys - cluster.secrets.get(name, frozenset()))
        if name not in cluster.secrets:
            yield f"There is no Secret {name}: create it with {', '.join(absent)}."
        elif absent:
            yield f"The Secret {name} has no {', '.join(absent)}: add what is missing."
    yield from _of_production(bodies, cluster)


def _of_production(bodies: list[dict[str, Any]], cluster: Cluster) -> Iterator[str]:
    """What only the production components need."""
    if any(map(_is_spread, bodies)) and SPREAD_FEATURE not in cluster.features:
        yield (
            f"Knative refuses topologySpreadConstraints: say {SPREAD_FEATURE}: enabled in the ConfigMap "
            "config-features of knative-serving, or leave knative/components/spread out."
        )
    named = {name for body in bodies if body["kind"] == "NetworkPolicy" for name in _namespaces(body["spec"])}
    for name in sorted(named - cluster.namespaces - _OPTIONAL_NAMESPACES):
        yield f"There is no namespace {name}, which NetworkPolicies let in or out: name yours in their place."
    for body in bodies:
        host = str((body.get("spec") or {}).get("externalName", ""))
        if host.endswith(".example.com"):
            yield f"The Service {body['metadata']['name']} leads to {host}: name your own server there."


def _is_spread(body: Mapping[str, Any]) -> bool:
    """Whether a Knative Service says how its pods are spread."""
    return str(body["apiVersion"]).startswith("serving.") and bool(
        body["spec"]["template"]["spec"].get("topologySpreadConstraints")
    )


def _namespaces(value: Any) -> Iterator[str]:
    """The namespaces that a NetworkPolicy names."""
    for name, one in (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    ):
        if name == "kubernetes.io/metadata.name":
            yield one
        yield from _namespaces(one)


def _kind(body: Mapping[str, Any]) -> str:
    return f"{body['apiVersion']} {body['kind']}"


def _channels(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The channel that a Broker's ConfigMap says it is made of."""
    template = (body.get("data") or {}).get("channel-template-spec") if body["kind"] == "ConfigMap" else None
    if template:
        yield yaml.safe_load(template)


def _brings(kind: str) -> str:
    return next((what for group, what in _BRINGS if kind.startswith(group)), "what brings it")


def _secrets(value: Any) -> dict[str, set[str]]:
    """Every key of a Secret that some variable cannot do without."""
    found: dict[str, set[str]] = {}
    for one in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        for name, keys in _secrets(one).items():
            found.setdefault(name, set()).update(keys)
    if isinstance(value, Mapping):
        reference = value.get("secretKeyRef")
        if isinstance(reference, Mapping) and not reference.get("optional"):
            found.setdefault(reference["name"], set()).add(reference["key"])
        mounted = value.get("secret")
        if isinstance(mounted, Mapping) and not mounted.get("optional"):
            found.setdefault(mounted["secretName"], set()).update(one["key"] for one in mounted.get("items") or ())
        credentials = value.get("connectionSecret")
        if isinstance(credentials, Mapping):
            found.setdefault(credentials["name"], set()).update({"uri", "username", "password"})
    return found


def main() -> None:
    """Print what is missing; exits with 1 where something is, or where nobody could be asked."""
    if len(sys.argv) != 2:
        sys.exit("say which overlay: python -m knative.runtime.deploy knative/overlays/nats")
    try:
        documents = collect(Path(sys.argv[1]))
        namespace = next((one.namespace for one in documents if one.kind in {"Service", "Deployment"}), "default")
        guarded = any(one.kind == "NetworkPolicy" for one in documents)
        lines = list(missing(documents, ask(namespace, production=guarded)))
    except ManifestErrors as errors:
        sys.exit(str(errors))
    except NoCluster as error:
        sys.exit(str(error))
    print("\n".join(lines) or f"The cluster has what {sys.argv[1]} needs.")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
