"""What a container finds in its environment: its manifest's variables, Knative's own, and the way to its neighbours."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from knative.runtime import addresses
from knative.runtime.resources import Container, ContainerSource, Platform, Service

# What a program needs from the machine; nothing else of the developer's shell reaches a function, as on a cluster.
_FROM_THE_MACHINE = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    "VIRTUAL_ENV",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


@dataclass(frozen=True)
class Values:
    """Every ConfigMap's and Secret's data by (namespace, name); Secrets as the runtime completed them."""

    config_maps: Mapping[tuple[str, str], Mapping[str, str]]
    secrets: Mapping[tuple[str, str], Mapping[str, str]]

    @classmethod
    def of(cls, platform: Platform, secrets: Mapping[tuple[str, str], Mapping[str, str]]) -> Values:
        """The platform's ConfigMaps beside completed Secrets."""
        return cls({key: one.data for key, one in platform.config_maps.items()}, secrets)


class MissingValue(Exception):
    """A variable refers to a key that its ConfigMap or Secret does not have."""


def of_machine(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The part of our own environment that children are given."""
    environ = os.environ if environ is None else environ
    return {name: environ[name] for name in _FROM_THE_MACHINE if name in environ} | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": environ.get("PYTHONDONTWRITEBYTECODE", ""),
    }


def of_container(container: Container, namespace: str, values: Values) -> dict[str, str]:
    """The variables a manifest gives a container; later ones win, `env` wins over `envFrom` (Kubernetes, EnvVar).

    Raises:
        MissingValue: a reference that is not optional leads nowhere; the message names the key and what holds it.
    """
    environment: dict[str, str] = {}
    for source in container.environment_from:
        kind, name, maps = (
            ("ConfigMap", source.config_map, values.config_maps)
            if source.config_map is not None
            else ("Secret", source.secret, values.secrets)
        )
        found = maps.get((namespace, str(name)))
        if found is None and not source.optional:
            raise MissingValue(f"{kind} {name} is not there")
        environment |= {f"{source.prefix}{key}": value for key, value in (found or {}).items()}
    for variable in container.variables:
        value = variable.value
        if variable.secret is not None:
            value = _look_up(values.secrets, namespace, "Secret", variable.secret, optional=variable.optional)
        elif variable.config_map is not None:
            value = _look_up(
                values.config_maps, namespace, "ConfigMap", variable.config_map, optional=variable.optional
            )
        if value is not None:
            environment[variable.name] = value
    return environment


def _look_up(
    maps: Mapping[tuple[str, str], Mapping[str, str]],
    namespace: str,
    kind: str,
    reference: tuple[str, str],
    *,
    optional: bool,
) -> str | None:
    name, key = reference
    value = maps.get((namespace, name), {}).get(key)
    if value is None and not optional:
        raise MissingValue(f"{kind} {name} has no key {key}")
    return value


def of_neighbours(gateway: str) -> dict[str, str]:
    """How a child reaches `NAME.NAMESPACE.svc.cluster.local` without cluster DNS: the gateway is its HTTP proxy.

    Every HTTP client honours these; loopback addresses (the Broker's ingress) are reached directly.
    """
    return {
        "HTTP_PROXY": gateway,
        "http_proxy": gateway,
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
    }


def ce_overrides(extensions: Mapping[str, str]) -> str:
    """What K_CE_OVERRIDES holds: JSON, or nothing where there is nothing to override (Knative SinkBinding)."""
    return json.dumps({"extensions": dict(extensions)}) if extensions else ""


def of_source(source: ContainerSource, values: Values, gateway: str, broker_ingress: str) -> dict[str, str]:
    """What a ContainerSource's program finds: its manifest's variables, and where its events go."""
    return {
        **of_machine(),
        **of_neighbours(gateway),
        **of_container(source.container, source.namespace, values),
        "K_SINK": addresses.url(source.sink, broker_ingress),
        "K_CE_OVERRIDES": ce_overrides(source.ce_overrides),
    }


def of_service(service: Service, values: Values, gateway: str, broker_ingress: str) -> dict[str, str]:
    """All that a Service's container finds: the runtime contract's variables, the manifest's, and where events go."""
    variables = {
        **of_machine(),
        **of_neighbours(gateway),
        "PORT": "8080",
        "K_SERVICE": service.name,
        "K_CONFIGURATION": service.name,
        "K_REVISION": service.revision,
        **of_container(service.container, service.namespace, values),
    }
    if service.sink is not None:
        variables["K_SINK"] = addresses.url(service.sink, broker_ingress)
        variables["K_CE_OVERRIDES"] = ce_overrides(service.ce_overrides)
    return variables
