"""`python -m knative.runtime.deploy OVERLAY`: what a cluster lacks before `kubectl apply -k OVERLAY`, in sentences.

It asks for names only: which kinds there are, which keys the Secrets have. No value is read, nothing is changed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from knative.runtime import programs
from knative.runtime.child import StartFailed
from knative.runtime.kustomize import Document, ManifestErrors, collect

_KEYS = (
    '{{range .items}}{{$name := .metadata.name}}{{range $key, $_ := .data}}{{$name}} {{$key}}{{"\\n"}}{{end}}{{end}}'
)
_TIMEOUT = "--request-timeout=10s"
# What brings the kinds of an API group, most specific first.
_BRINGS = (
    ("serving.knative.dev", "Knative Serving"),
    ("eventing.knative.dev/v1alpha1", "the RabbitMQ Broker (eventing-rabbitmq)"),
    ("eventing.knative.dev/v1beta3", "Knative Eventing 1.15 or newer"),
    ("eventing.knative.dev", "Knative Eventing"),
    ("sources.knative.dev", "Knative Eventing"),
    ("messaging.knative.dev/v1alpha1", "eventing-natss"),
    ("messaging.knative.dev", "Knative Eventing"),
    ("monitoring.coreos.com", "the Prometheus operator"),
    ("gateway.networking.k8s.io", "the Gateway API, or use an overlay with knative/components/gateway-envoy"),
)


class NoCluster(Exception):
    """The cluster cannot be asked; the message says why and what to do."""


@dataclass(frozen=True)
class Cluster:
    """What a cluster has: kinds as `apiVersion kind`, GatewayClasses, and the namespace's Secrets with their keys."""

    kinds: frozenset[str]
    gateway_classes: frozenset[str]
    secrets: Mapping[str, frozenset[str]]


def missing(documents: Iterable[Document], cluster: Cluster) -> Iterator[str]:
    """What these documents need and the cluster lacks, a sentence each."""
    bodies = [one.body for one in documents]
    lacking = sorted({_kind(one) for body in bodies for one in (body, *_channels(body))} - cluster.kinds)
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
        credentials = value.get("connectionSecret")
        if isinstance(credentials, Mapping):
            found.setdefault(credentials["name"], set()).update({"uri", "username", "password"})
    return found


def ask(namespace: str) -> Cluster:
    """Ask the cluster that kubectl's current context names.

    Raises:
        NoCluster: kubectl is not installed, or no cluster answers, or it may not be asked.
    """
    kinds = frozenset(
        f"{fields[-3]} {fields[-1]}"
        for line in _kubectl("api-resources", "--no-headers").splitlines()
        if len(fields := line.split()) >= 4
    )
    classes = ""
    if any(one.endswith(" GatewayClass") for one in kinds):
        classes = _kubectl("get", "gatewayclass", "--output=name")
    secrets: dict[str, set[str]] = {}
    keys = _kubectl("get", "secret", f"--namespace={namespace}", "--output=go-template", f"--template={_KEYS}")
    for line in keys.splitlines():
        name, _, key = line.partition(" ")
        secrets.setdefault(name, set()).add(key)
    return Cluster(
        kinds,
        frozenset(one.rpartition("/")[2] for one in classes.split()),
        {name: frozenset(held) for name, held in secrets.items()},
    )


def _kubectl(*words: str) -> str:
    try:
        program = programs.find("kubectl")
    except StartFailed as error:
        raise NoCluster(f"kubectl is not installed, so no cluster can be asked: {error}.") from error
    done = subprocess.run([program, _TIMEOUT, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise NoCluster(f"No cluster answers (set KUBECONFIG or kubectl's context); kubectl said: {said}")
    return done.stdout


def main() -> None:
    """Print what is missing; exits with 1 where something is, or where nobody could be asked."""
    if len(sys.argv) != 2:
        sys.exit("say which overlay: python -m knative.runtime.deploy knative/overlays/nats")
    try:
        documents = collect(Path(sys.argv[1]))
        namespace = next((one.namespace for one in documents if one.kind in {"Service", "Deployment"}), "default")
        lines = list(missing(documents, ask(namespace)))
    except ManifestErrors as errors:
        sys.exit(str(errors))
    except NoCluster as error:
        sys.exit(str(error))
    print("\n".join(lines) or f"The cluster has what {sys.argv[1]} needs.")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
