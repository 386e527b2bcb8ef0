"""What the manifests say, as the rest of the runtime reads it: frozen, with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from knative.runtime.probes import Probe

Key = tuple[str, str]


@dataclass(frozen=True)
class Variable:
    """One environment variable: a value, or a key of a Secret or ConfigMap (name, key)."""

    name: str
    value: str | None
    secret: Key | None
    config_map: Key | None
    optional: bool


@dataclass(frozen=True)
class EnvironmentFrom:
    """All keys of a ConfigMap or a Secret as variables."""

    config_map: str | None
    secret: str | None
    prefix: str
    optional: bool


@dataclass(frozen=True)
class Container:
    """What runs, and with which environment."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_directory: str | None
    variables: tuple[Variable, ...]
    environment_from: tuple[EnvironmentFrom, ...]


@dataclass(frozen=True)
class Destination:
    """Where events go: an object by reference (with a relative path), or a URL."""

    uri: str | None
    kind: str | None
    name: str | None
    namespace: str | None
    path: str | None


@dataclass(frozen=True)
class Target:
    """A part of a Service's traffic: to a revision by name, or (None) to the latest."""

    revision: str | None
    percent: int
    tag: str | None


@dataclass(frozen=True)
class Service:
    """A Knative Service with one of its templates. `annotations` are the template's; the sink is a SinkBinding's.

    `revision` is the template's own name where it has one, and is given by runtime/history.py otherwise. `folder` is
    that of its YAML.
    """

    name: str
    namespace: str
    folder: Path
    labels: Mapping[str, str]
    traffic: tuple[Target, ...]
    sink: Destination | None
    ce_overrides: Mapping[str, str]
    template: Mapping[str, Any]
    template_key: str
    revision: str
    annotations: Mapping[str, str]
    container: Container
    protocol: Literal["http1", "h2c"]
    timeout_seconds: int
    response_start_timeout_seconds: int
    idle_timeout_seconds: int
    container_concurrency: int
    cpu_request: float
    readiness: Probe | None
    liveness: Probe | None

    @property
    def cluster_local(self) -> bool:
        """Whether it is hidden from outside (networking.knative.dev/visibility)."""
        return self.labels.get("networking.knative.dev/visibility") == "cluster-local"


@dataclass(frozen=True)
class Routed:
    """A Service, the revisions of it that get requests, and how the requests are shared out."""

    service: Service
    targets: tuple[RevisionTarget, ...]
    revisions: Mapping[str, Service]


@dataclass(frozen=True)
class RevisionTarget:
    """A part of the traffic, to a revision that there is."""

    revision: str
    percent: int
    tag: str | None


@dataclass(frozen=True)
class Broker:
    """A Broker and its object."""

    name: str
    namespace: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Trigger:
    """A Trigger, its object, and where its events and dead letters go."""

    name: str
    namespace: str
    broker: str
    body: Mapping[str, Any]
    subscriber: Destination


@dataclass(frozen=True)
class EventType:
    """What an EventType tells of a type of event; nothing is done by it, here or on Knative."""

    type: str
    source: str
    broker: Key | None
    description: str
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Messaging:
    """A Channel or a Subscription, by its object."""

    kind: Literal["Channel", "Subscription"]
    name: str
    namespace: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class ContainerSource:
    """A program that runs all the time and sends events to its sink; `command` stands in for its image."""

    name: str
    namespace: str
    folder: Path
    command: str
    container: Container
    sink: Destination
    ce_overrides: Mapping[str, str]


@dataclass(frozen=True)
class PingSource:
    """An event on a schedule (five cron fields, or six with seconds first)."""

    name: str
    namespace: str
    schedule: str
    timezone: str | None
    content_type: str
    data: bytes
    sink: Destination
    ce_overrides: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """A batch/v1 Job: its init containers in turn, then its containers."""

    name: str
    namespace: str
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]
    backoff_limit: int
    template_key: str


@dataclass(frozen=True)
class RouteMatch:
    """Which requests a route is for; without a method, all."""

    method: str | None
    kind: Literal["Exact", "PathPrefix"]
    value: str


@dataclass(frozen=True)
class Route:
    """Requests that go to a Service (namespace, name)."""

    name: str
    hostnames: tuple[str, ...]
    matches: tuple[RouteMatch, ...]
    service: Key


@dataclass(frozen=True)
class ConfigMap:
    """A ConfigMap."""

    name: str
    namespace: str
    data: Mapping[str, str]


@dataclass(frozen=True)
class Secret:
    """A Secret, decoded; annotations may ask the runtime to fulfil it."""

    name: str
    namespace: str
    data: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Platform:
    """All of it. Services, ConfigMaps and Secrets by (namespace, name)."""

    services: Mapping[Key, Service]
    brokers: tuple[Broker, ...]
    triggers: tuple[Trigger, ...]
    event_types: tuple[EventType, ...]
    messaging: tuple[Messaging, ...]
    ping_sources: tuple[PingSource, ...]
    container_sources: tuple[ContainerSource, ...]
    jobs: tuple[Job, ...]
    routes: tuple[Route, ...]
    config_maps: Mapping[Key, ConfigMap]
    secrets: Mapping[Key, Secret]
    # What config-autoscaler says.
    autoscaler: Mapping[str, str]
    unlisted: tuple[Path, ...]
