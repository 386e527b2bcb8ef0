"""From YAML documents to a Platform: what refers to what is resolved, and what refers to nothing is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from knative.runtime import admission, flows
from knative.runtime.addresses import destination_of
from knative.runtime.kustomize import Document, ManifestError, ManifestErrors, collect
from knative.runtime.probes import Probe
from knative.runtime.resources import (
    Broker,
    ConfigMap,
    Container,
    ContainerSource,
    Destination,
    EnvironmentFrom,
    EventType,
    Job,
    Messaging,
    PingSource,
    Platform,
    Route,
    RouteMatch,
    Secret,
    Service,
    Target,
    Trigger,
    Variable,
)

_TIMEOUT_SECONDS = 300
_MESSAGING: tuple[Literal["Channel"], Literal["Subscription"]] = ("Channel", "Subscription")
_AUTOSCALER = ("knative-serving", "config-autoscaler")


def load(place: Path) -> Platform:
    """The platform of a kustomization folder, a plain folder of YAML, or one file.

    Raises:
        ManifestErrors: with everything that Knative would refuse, that is not honoured here, or that leads nowhere.
    """
    documents = collect(place)
    errors = admission.check(documents)
    if errors:
        raise ManifestErrors(errors)
    return platform(documents)


def platform(documents: Iterable[Document]) -> Platform:
    """The platform of documents that were admitted.

    Raises:
        ManifestErrors: references that lead nowhere.
    """
    documents = flows.expanded(documents)
    by_kind: dict[str, list[Document]] = {}
    for one in documents:
        by_kind.setdefault(_kind(one), []).append(one)
    bindings = by_kind.get("SinkBinding", [])
    services = {_key(one): _service(one, bindings) for one in by_kind.get("Service", [])}
    config_maps = {_key(one): _config_map(one) for one in by_kind.get("ConfigMap", [])}
    secrets = {_key(one): _secret(one) for one in by_kind.get("Secret", [])}
    made = Platform(
        services=services,
        brokers=tuple(Broker(one.name, one.namespace, one.body) for one in by_kind.get("Broker", [])),
        triggers=tuple(_trigger(one) for one in by_kind.get("Trigger", [])),
        event_types=tuple(_event_type(one) for one in by_kind.get("EventType", [])),
        messaging=tuple(
            Messaging(kind, one.name, one.namespace, one.body) for kind in _MESSAGING for one in by_kind.get(kind, [])
        ),
        container_sources=tuple(_container_source(one) for one in by_kind.get("ContainerSource", [])),
        ping_sources=tuple(_ping_source(one) for one in by_kind.get("PingSource", [])),
        jobs=tuple(_job(one) for one in by_kind.get("Job", [])),
        routes=tuple(route for one in by_kind.get("HTTPRoute", []) for route in _routes(one)),
        config_maps=config_maps,
        secrets=secrets,
        autoscaler=config_maps[_AUTOSCALER].data if _AUTOSCALER in config_maps else {},
        unlisted=tuple(dict.fromkeys(one.file for one in documents if one.unlisted)),
    )
    errors = _dangling(made, by_kind)
    if errors:
        raise ManifestErrors(errors)
    return made


def _kind(document: Document) -> str:
    """The kind; a core Service is no Knative one."""
    if document.kind == "Service" and not str(document.body.get("apiVersion", "")).startswith("serving."):
        return "core Service"
    return document.kind


def _key(document: Document) -> tuple[str, str]:
    return document.namespace, document.name


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _service(document: Document, bindings: Iterable[Document]) -> Service:
    body = document.body
    sink, overrides = _bound(document, bindings)
    template = body["spec"]["template"]
    return Service(
        name=document.name,
        namespace=document.namespace,
        folder=document.file.resolve().parent,
        labels=body["metadata"].get("labels") or {},
        traffic=tuple(
            Target(one.get("revisionName"), int(one.get("percent") or 0), one.get("tag"))
            for one in body["spec"].get("traffic") or [{"percent": 100}]
        ),
        sink=sink,
        ce_overrides=overrides,
        **_of_template(template),
    )


def with_template(service: Service, template: Mapping[str, Any], revision: str) -> Service:
    """The same Service with another of its templates: an earlier revision."""
    return replace(service, **{**_of_template(template), "revision": revision})


def _of_template(template: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Service that its template decides."""
    metadata, spec = template.get("metadata") or {}, template["spec"]
    container = spec["containers"][0]
    port = (container.get("ports") or [{}])[0]
    timeout = int(spec.get("timeoutSeconds") or _TIMEOUT_SECONDS)
    start = int(spec.get("responseStartTimeoutSeconds") or 0)
    requests = (container.get("resources") or {}).get("requests") or {}
    return {
        "template": template,
        "template_key": _digest({**template, "metadata": {**metadata, "name": None}}),
        "revision": str(metadata.get("name") or ""),
        "annotations": admission.canonical(metadata.get("annotations") or {}),
        "container": _container(container),
        "protocol": "h2c" if port.get("name") == "h2c" else "http1",
        "timeout_seconds": timeout,
        # A template that asks for more than 300 s gets this for its first byte (v1/revision_defaults.go).
        "response_start_timeout_seconds": start or (_TIMEOUT_SECONDS if timeout > _TIMEOUT_SECONDS else 0),
        "idle_timeout_seconds": int(spec.get("idleTimeoutSeconds") or 0),
        "container_concurrency": int(spec.get("containerConcurrency") or 0),
        "cpu_request": _cores(str(requests.get("cpu", "1"))),
        "readiness": _probe(container.get("readinessProbe")),
        "liveness": _probe(container.get("livenessProbe")),
    }


def _probe(body: Mapping[str, Any] | None) -> Probe | None:
    return None if body is None else Probe.of(body)


def _cores(quantity: str) -> float:
    """Kubernetes' quantity of CPU: "250m" is a quarter of a core."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def _bound(document: Document, bindings: Iterable[Document]) -> tuple[Destination | None, Mapping[str, str]]:
    """The sink that a SinkBinding gives this Service, and its overrides."""
    labels = document.body["metadata"].get("labels") or {}
    for binding in bindings:
        spec = binding.body["spec"]
        subject = spec["subject"]
        wanted = ((subject.get("selector") or {}).get("matchLabels")) or {}
        named = subject.get("name") == document.name
        if (
            subject.get("kind") == "Service"
            and binding.namespace == document.namespace
            and (named or (wanted and wanted.items() <= labels.items()))
        ):
            overrides = (spec.get("ceOverrides") or {}).get("extensions") or {}
            return destination_of(spec["sink"], binding.namespace), overrides
    return None, {}


def _container(body: Mapping[str, Any]) -> Container:
    return Container(
        name=body.get("name", "user-container"),
        image=body.get("image", ""),
        command=tuple(map(str, body.get("command") or ())),
        args=tuple(map(str, body.get("args") or ())),
        working_directory=body.get("workingDir"),
        variables=tuple(_variable(one) for one in body.get("env") or ()),
        environment_from=tuple(_environment_from(one) for one in body.get("envFrom") or ()),
    )


def _variable(body: Mapping[str, Any]) -> Variable:
    source = body.get("valueFrom") or {}
    secret, config_map = source.get("secretKeyRef"), source.get("configMapKeyRef")
    return Variable(
        name=body["name"],
        value=None if source else str(body.get("value", "")),
        secret=None if secret is None else (secret["name"], secret["key"]),
        config_map=None if config_map is None else (config_map["name"], config_map["key"]),
        optional=bool((secret or config_map or {}).get("optional", False)),
    )


def _environment_from(body: Mapping[str, Any]) -> EnvironmentFrom:
    secret, config_map = body.get("secretRef"), body.get("configMapRef")
    return EnvironmentFrom(
        config_map=None if config_map is None else config_map["name"],
        secret=None if secret is None else secret["name"],
        prefix=body.get("prefix", ""),
        optional=bool((secret or config_map or {}).get("optional", False)),
    )


def _trigger(document: Document) -> Trigger:
    spec = {"broker": (document.body["spec"].get("brokerRef") or {}).get("name"), **document.body["spec"]}
    spec.pop("brokerRef", None)
    return Trigger(
        name=document.name,
        namespace=document.namespace,
        broker=spec["broker"],
        body={**document.body, "spec": spec},
        subscriber=destination_of(spec["subscriber"], document.namespace),
    )


def _event_type(document: Document) -> EventType:
    spec = document.body["spec"]
    values = {one["name"]: one.get("value", "") for one in spec["attributes"]}
    reference = spec.get("reference") or {}
    return EventType(
        type=values["type"],
        source=values["source"],
        broker=(
            (reference.get("namespace", document.namespace), reference["name"])
            if reference.get("kind") == "Broker"
            else None
        ),
        description=spec.get("description", ""),
        annotations=document.body["metadata"].get("annotations") or {},
    )


def _container_source(document: Document) -> ContainerSource:
    spec = document.body["spec"]
    template = spec["template"]
    return ContainerSource(
        name=document.name,
        namespace=document.namespace,
        folder=document.file.resolve().parent,
        command=template["metadata"]["annotations"]["wake.dev/local-command"],
        container=_container(template["spec"]["containers"][0]),
        sink=destination_of(spec["sink"], document.namespace),
        ce_overrides=(spec.get("ceOverrides") or {}).get("extensions") or {},
    )


def _ping_source(document: Document) -> PingSource:
    spec = document.body["spec"]
    data = base64.b64decode(spec["dataBase64"]) if "dataBase64" in spec else str(spec.get("data", "")).encode()
    return PingSource(
        name=document.name,
        namespace=document.namespace,
        schedule=spec.get("schedule", "* * * * *"),
        timezone=spec.get("timezone"),
        content_type=spec.get("contentType", "application/json"),
        data=data,
        sink=destination_of(spec["sink"], document.namespace),
        ce_overrides=(spec.get("ceOverrides") or {}).get("extensions") or {},
    )


def _job(document: Document) -> Job:
    spec = document.body["spec"]
    pod = spec["template"]["spec"]
    return Job(
        name=document.name,
        namespace=document.namespace,
        init_containers=tuple(_container(one) for one in pod.get("initContainers") or ()),
        containers=tuple(_container(one) for one in pod["containers"]),
        backoff_limit=int(spec.get("backoffLimit", 6)),
        template_key=_digest(spec["template"]),
    )


def _routes(document: Document) -> Iterable[Route]:
    """Each rule of an HTTPRoute; the hostname that it rewrites to says which Service is meant."""
    spec = document.body["spec"]
    for rule in spec["rules"]:
        hostname = next(
            one["urlRewrite"]["hostname"] for one in rule.get("filters") or () if one.get("type") == "URLRewrite"
        )
        name, namespace = hostname.split(".")[:2]
        yield Route(
            name=document.name,
            hostnames=tuple(spec.get("hostnames") or ()),
            matches=tuple(
                RouteMatch(one.get("method"), one["path"].get("type", "PathPrefix"), one["path"]["value"])
                for one in rule["matches"]
            ),
            service=(namespace, name),
        )


def _config_map(document: Document) -> ConfigMap:
    return ConfigMap(
        document.name, document.namespace, {key: str(value) for key, value in (document.body.get("data") or {}).items()}
    )


def _secret(document: Document) -> Secret:
    body = document.body
    decoded = {key: base64.b64decode(value).decode() for key, value in (body.get("data") or {}).items()}
    decoded |= {key: str(value) for key, value in (body.get("stringData") or {}).items()}
    return Secret(document.name, document.namespace, decoded, (body.get("metadata") or {}).get("annotations") or {})


def _dangling(made: Platform, by_kind: Mapping[str, list[Document]]) -> list[ManifestError]:
    """References that lead nowhere."""
    return [
        *_dangling_destinations(made, by_kind),
        *(
            document.error(("spec", "rules"), f"there is no Service {'/'.join(route.service)}")
            for document in by_kind.get("HTTPRoute", [])
            for route in _routes(document)
            if route.service not in made.services
        ),
        *_dangling_values(made, by_kind),
    ]


def _dangling_destinations(made: Platform, by_kind: Mapping[str, list[Document]]) -> Iterator[ManifestError]:
    known = {
        kind: {_key(one) for one in by_kind.get(kind, [])}
        for kind in ("Service", "Broker", "Channel", "Sequence", "Parallel")
    }
    for trigger, document in zip(made.triggers, by_kind.get("Trigger", []), strict=True):
        if (document.namespace, trigger.broker) not in known["Broker"]:
            yield document.error(("spec", "broker"), f"there is no Broker {trigger.broker}")
    for event_type, document in zip(made.event_types, by_kind.get("EventType", []), strict=True):
        if event_type.broker is not None and event_type.broker not in known["Broker"]:
            yield document.error(("spec", "reference"), f"there is no Broker {'/'.join(event_type.broker)}")
    for document in by_kind.get("Subscription", []):
        channel = document.body["spec"]["channel"]["name"]
        if (document.namespace, channel) not in known["Channel"]:
            yield document.error(("spec", "channel"), f"there is no Channel {channel}")
    for document, path, value in _references(by_kind):
        destination = destination_of(value, document.namespace)
        where = (str(destination.namespace), str(destination.name))
        if destination.kind is not None and where not in known[destination.kind]:
            yield document.error(path, f"there is no {destination.kind} {destination.namespace}/{destination.name}")


def _references(by_kind: Mapping[str, list[Document]]) -> Iterator[tuple[Document, tuple[str, ...], Any]]:
    """Every place that names a destination."""
    for kind, name in (
        ("Trigger", "subscriber"),
        ("Subscription", "subscriber"),
        ("Subscription", "reply"),
        ("PingSource", "sink"),
        ("SinkBinding", "sink"),
        ("ContainerSource", "sink"),
    ):
        for document in by_kind.get(kind, []):
            if document.body["spec"].get(name):
                yield document, ("spec", name), document.body["spec"][name]
    for document in [one for kind in ("Broker", "Trigger", *_MESSAGING) for one in by_kind.get(kind, [])]:
        sink = ((document.body.get("spec") or {}).get("delivery") or {}).get("deadLetterSink")
        if sink:
            yield document, ("spec", "delivery", "deadLetterSink"), sink


def _dangling_values(made: Platform, by_kind: Mapping[str, list[Document]]) -> Iterator[ManifestError]:
    for document in by_kind.get("Service", []):
        yield from _missing_values(document, made.services[_key(document)].container, made, _CONTAINER)
    for document, job in zip(by_kind.get("Job", []), made.jobs, strict=True):
        for kind, containers in (("initContainers", job.init_containers), ("containers", job.containers)):
            for index, container in enumerate(containers):
                yield from _missing_values(document, container, made, ("spec", "template", "spec", kind, index))


_CONTAINER = ("spec", "template", "spec", "containers", 0)


def _missing_values(
    document: Document, container: Container, made: Platform, path: tuple[str | int, ...]
) -> list[ManifestError]:
    errors = []
    for index, variable in enumerate(container.variables):
        for kind, reference, known in (
            ("Secret", variable.secret, made.secrets),
            ("ConfigMap", variable.config_map, made.config_maps),
        ):
            if reference is not None and not variable.optional and (document.namespace, reference[0]) not in known:
                errors.append(document.error((*path, "env", index), f"there is no {kind} {reference[0]}"))
    for index, source in enumerate(container.environment_from):
        if source.optional:
            continue
        missing = (
            ("ConfigMap", source.config_map)
            if source.config_map is not None and (document.namespace, source.config_map) not in made.config_maps
            else ("Secret", source.secret)
            if source.secret is not None and (document.namespace, source.secret) not in made.secrets
            else None
        )
        if missing is not None:
            errors.append(document.error((*path, "envFrom", index), f"there is no {missing[0]} {missing[1]}"))
    return errors
