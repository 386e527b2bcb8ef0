"""What the restricted Pod Security Standard refuses, as sentences; Knative's kinds hide their pods from linters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_HOST = ("hostNetwork", "hostPID", "hostIPC")


def pod_template(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod template of a Knative Service, Deployment, Job or CronJob; None where there is none."""
    spec = body.get("spec") or {}
    if body["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Mapping[str, Any] | None = spec.get("template") if isinstance(spec.get("template"), Mapping) else None
    return template


def as_deployment(body: Mapping[str, Any]) -> dict[str, Any]:
    """A Knative Service's pod as a Deployment, so that what knows only Kubernetes looks inside."""
    template = body["spec"]["template"]
    knative = {"timeoutSeconds", "containerConcurrency", "responseStartTimeoutSeconds", "idleTimeoutSeconds"}
    pod = {name: value for name, value in template["spec"].items() if name not in knative}
    pod["containers"] = [defaulted(one) for one in pod["containers"]]
    labels = {"serving.knative.dev/service": body["metadata"]["name"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": body["metadata"]["name"], "namespace": body["metadata"].get("namespace", "default")},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def defaulted(container: Mapping[str, Any]) -> dict[str, Any]:
    """With the name and the probes' port that Knative fills in."""
    port = (container.get("ports") or [{}])[0].get("containerPort", 8080)
    probes = {
        name: {
            kind: {"port": port, **(how or {})} if kind in {"httpGet", "tcpSocket", "grpc"} else how
            for kind, how in container[name].items()
        }
        for name in ("readinessProbe", "livenessProbe")
        if name in container
    }
    return {"name": "user-container", **container, **probes}


def kubernetes_objects(bodies: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those that Kubernetes itself knows, and each Knative Service as a Deployment."""
    own = [
        as_deployment(one) if one["apiVersion"].startswith("serving.") else dict(one)
        for one in bodies
        # The last are the Prometheus operator's.
        if not one["apiVersion"].startswith(("eventing.", "sources.", "messaging.", "gateway.", "monitoring."))
    ]
    assert all("." not in one["apiVersion"] or one["apiVersion"].split("/")[0].endswith("k8s.io") for one in own)
    return own


def dangers(template: Mapping[str, Any]) -> Iterator[str]:
    """What the restricted profile does not let this pod be."""
    pod = template.get("spec") or {}
    for name in _HOST:
        if pod.get(name):
            yield f"{name} is on"
    if any("hostPath" in one for one in pod.get("volumes") or ()):
        yield "a folder of the host is mounted"
    for container in [*(pod.get("initContainers") or ()), *pod["containers"]]:
        context = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
        yield from _container_dangers(str(container.get("name", "user-container")), context)


def _container_dangers(name: str, context: Mapping[str, Any]) -> Iterator[str]:
    if context.get("privileged"):
        yield f"{name} is privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may gain privileges"
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield f"{name} may run as root"
    if not context.get("readOnlyRootFilesystem"):
        yield f"{name} may write to its image"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()) or capabilities.get("add"):
        yield f"{name} keeps capabilities"
    if (context.get("seccompProfile") or {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield f"{name} may make any system call"
