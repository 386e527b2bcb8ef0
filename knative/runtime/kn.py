"""The `kn service create` line of each Service, for those who work with kn: what `wake render --kn` prints. Pure.

Where kn has no flag for a field, a comment above the line says so; `kn service apply NAME -f FILE` loses nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from knative.runtime.resources import Platform, Service

_FLAGS = {"timeoutSeconds": "--timeout", "containerConcurrency": "--concurrency-limit"}
# kn's `strict` security context (kn, pkg/flags/podspec_helper.go).
_STRICT = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def commands(platform: Platform) -> str:
    """A line for each Service, in the order of their names."""
    return "\n".join(line for key in sorted(platform.services) for line in _lines(platform.services[key])) + "\n"


def _lines(service: Service) -> Iterator[str]:
    container = service.template["spec"]["containers"][0]
    left_out = list(_left_out(service, container))
    if left_out:
        yield f"# {service.name}: kn has no flag for {', '.join(left_out)}"
    yield shlex.join(["kn", "service", "create", service.name, *_flags(service, container)])


def _flags(service: Service, container: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"--namespace={service.namespace}", f"--image={container['image']}")
    yield from (f"--cmd={word}" for word in container.get("command") or ())
    yield from (f"--arg={word}" for word in container.get("args") or ())
    for port in container.get("ports") or ():
        yield f"--port={port['name'] + ':' if port.get('name') else ''}{port.get('containerPort', 8080)}"
    yield from _environment(service)
    yield from _probes(container)
    for kind, flag in (("requests", "--request"), ("limits", "--limit")):
        amounts = (container.get("resources") or {}).get(kind) or {}
        if amounts:
            yield f"{flag}={','.join(f'{name}={amount}' for name, amount in amounts.items())}"
    spec = service.template["spec"]
    yield from (f"{_FLAGS[name]}={spec[name]}" for name in _FLAGS if spec.get(name))
    if container.get("securityContext"):
        yield "--security-context=strict"
    if service.cluster_local:
        yield "--cluster-local"
    for name, value in service.labels.items():
        if name != "networking.knative.dev/visibility":
            yield f"--label-service={name}={value}"
    annotations = (service.template.get("metadata") or {}).get("annotations") or {}
    yield from (f"--annotation-revision={name}={value}" for name, value in annotations.items())


def _probes(container: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("readiness", "liveness"):
        probe = container.get(f"{kind}Probe") or {}
        if (get := probe.get("httpGet")) is not None:
            yield f"--probe-{kind}=http::{get.get('port', '')}:{get.get('path', '/')}"
        elif (connect := probe.get("tcpSocket")) is not None:
            yield f"--probe-{kind}=tcp::{connect.get('port', '')}"


def _environment(service: Service) -> Iterator[str]:
    for source in service.container.environment_from:
        kind = f"config-map:{source.config_map}" if source.config_map else f"secret:{source.secret}"
        yield f"--env-from={kind}"
    for variable in service.container.variables:
        # By kn's flag no pod would start before the Secret is there.
        if variable.optional:
            continue
        if variable.secret is not None:
            yield f"--env-value-from={variable.name}=secret:{':'.join(variable.secret)}"
        elif variable.config_map is not None:
            yield f"--env-value-from={variable.name}=config-map:{':'.join(variable.config_map)}"
        else:
            yield f"--env={variable.name}={variable.value}"


def _left_out(service: Service, container: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"env.{variable.name} (optional)" for variable in service.container.variables if variable.optional)
    context = container.get("securityContext") or {}
    yield from (f"securityContext.{name}" for name, value in context.items() if _STRICT.get(name) != value)
    for name in ("readinessProbe", "livenessProbe"):
        if "grpc" in (container.get(name) or {}):
            yield f"{name}.grpc"
