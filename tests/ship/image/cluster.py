"""What a cluster without Knative would run of Wake: the commands, arguments and variables of the shipped YAML.

Every name of a Service is replaced by a port of loopback; nothing else is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from knative.runtime import child, environment, manifests
from knative.runtime.environment import Values
from knative.runtime.provision import SecretData
from knative.runtime.resources import Container

ROOT = Path(__file__).parent.parent.parent.parent
_SHIPPED = ROOT / "knative/overlays/kubernetes/wake.yaml"
NAMESPACE = "shop"
BROKER = "broker"
IMAGE = "dev.local/wake:latest"
_IN_CLUSTER = re.compile(rf"http://([a-z0-9-]+)\.{NAMESPACE}\.svc\.cluster\.local(?::\d+)?")


@dataclass(frozen=True)
class Program:
    """A container of the image: what is run, with which variables, and the path that says it serves (None: gRPC)."""

    name: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    port: int
    ready: str | None


class Cluster:
    """The shipped objects with addresses on this machine."""

    def __init__(self, secrets: SecretData) -> None:
        self._bodies = list(yaml.load_all(_SHIPPED.read_text(), Loader=yaml.CSafeLoader))
        deployed = [one["metadata"]["name"] for one in self._of_kind("Deployment")]
        self._ports = {name: child.free_port() for name in deployed}
        maps = {
            (NAMESPACE, one["metadata"]["name"]): {key: self._local(value) for key, value in one["data"].items()}
            for one in self._of_kind("ConfigMap")
        }
        self._values = Values(maps, secrets)

    def _of_kind(self, kind: str) -> Iterator[Mapping[str, Any]]:
        return (one for one in self._bodies if one["kind"] == kind)

    def _local(self, text: str) -> str:
        return _IN_CLUSTER.sub(lambda found: f"http://127.0.0.1:{self._ports[found[1]]}", text)

    def deployments(self) -> dict[str, Program]:
        """Everything that serves and is of the image, the Broker too."""
        found = {}
        for one in self._of_kind("Deployment"):
            name, (body,) = one["metadata"]["name"], one["spec"]["template"]["spec"]["containers"]
            if body["image"] == IMAGE:
                found[name] = self._program(name, body, self._ports[name])
        return found

    def jobs(self) -> dict[str, list[Program]]:
        """The Jobs, each with its containers in turn."""
        return {one["metadata"]["name"]: list(self._in_turn(one)) for one in self._of_kind("Job")}

    def _in_turn(self, job: Mapping[str, Any]) -> Iterator[Program]:
        pod = job["spec"]["template"]["spec"]
        for number, body in enumerate([*pod.get("initContainers", ()), *pod["containers"]]):
            yield self._program(f"{job['metadata']['name']}-{number}", body, 0)

    def ticks(self) -> dict[str, Program]:
        """The CronJobs, which stand for PingSources, by the name of the function that each wakes."""
        return {
            one["metadata"]["name"]: self._program(f"tick-{one['metadata']['name']}", body, 0)
            for one in self._of_kind("CronJob")
            for body in one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        }

    def triggers(self) -> str:
        """What the Broker reads."""
        return self._values.config_maps[NAMESPACE, BROKER]["broker.yaml"]

    def _program(self, name: str, body: Mapping[str, Any], port: int) -> Program:
        container: Container = manifests._container(body)
        variables = environment.of_container(container, NAMESPACE, self._values)
        variables = {key: self._local(value) for key, value in variables.items()}
        if "PORT" in variables:
            variables["PORT"] = str(port)
        args = [str(port) if before == "--port" else one for before, one in _with_before(container.args)]
        probe = body.get("readinessProbe") or {}
        return Program(
            name,
            (*container.command, *(self._local(one) for one in args)),
            variables,
            port,
            probe.get("httpGet", {}).get("path"),
        )


def _with_before(words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return zip(("", *words), words, strict=False)
