"""What a cluster has, by kubectl. Names only: no value of a Secret is read, nothing is changed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from knative.runtime import programs
from knative.runtime.child import StartFailed

_KEYS = (
    '{{range .items}}{{$name := .metadata.name}}{{range $key, $_ := .data}}{{$name}} {{$key}}{{"\\n"}}{{end}}{{end}}'
)
_FEATURES = '{{range $name, $value := .data}}{{$name}} {{$value}}{{"\\n"}}{{end}}'
_TIMEOUT = "--request-timeout=10s"


class NoCluster(Exception):
    """The cluster cannot be asked; the message says why and what to do."""


@dataclass(frozen=True)
class Cluster:
    """What a cluster has: kinds as `apiVersion kind`, GatewayClasses, and the namespace's Secrets with their keys.

    Also which features Knative Serving was told to have, and all namespaces.
    """

    kinds: frozenset[str]
    gateway_classes: frozenset[str]
    secrets: Mapping[str, frozenset[str]]
    features: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()


def ask(namespace: str, *, production: bool) -> Cluster:
    """Ask the cluster that kubectl's current context names; for *production* also what not everybody may ask.

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
        _features() if production else frozenset(),
        _namespaces() if production else frozenset(),
    )


def _namespaces() -> frozenset[str]:
    return frozenset(one.rpartition("/")[2] for one in _kubectl("get", "namespace", "--output=name").split())


def _features() -> frozenset[str]:
    """Those that Knative Serving's config-features turns on; none where there is no such ConfigMap."""
    where = ("config-features", "--namespace=knative-serving", "--ignore-not-found")
    told = _kubectl("get", "configmap", *where, "--output=go-template", f"--template={_FEATURES}")
    return frozenset(
        name
        for line in told.splitlines()
        for name, _, value in [line.partition(" ")]
        if value.lower() in {"enabled", "allowed"}
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
