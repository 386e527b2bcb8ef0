"""Refuses what Knative's webhooks refuse, and any field that is not honoured here: loudly, at start, with its line.

Sources: Knative Serving pkg/apis/serving/{k8s_validation,fieldmask,metadata_validation}.go and
pkg/apis/autoscaling/annotation_validation.go; Knative Eventing pkg/apis/eventing/v1/*_validation.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim, CronSimError

from eventing import delivery, filters
from knative.runtime import durations
from knative.runtime.fields import (
    ANY,
    FIELDS,
    NOT_HERE,
    NOT_YET,
    RETRY_AFTER,
    SPREAD,
    SPREAD_FEATURE,
    Approximated,
)
from knative.runtime.kustomize import Document, ManifestError, did_you_mean

Path = tuple[str | int, ...]
Problem = tuple[Path, str]

_DNS_LABEL = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_DNS_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
# Reasons that a feature takes away.
_BEHIND = {RETRY_AFTER: "delivery-retryafter", SPREAD: SPREAD_FEATURE}
_RESERVED_ENV = frozenset({"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"})
_RESERVED_PORTS = frozenset({8008, 8012, 8013, 8022, 9090, 9091})


def check(documents: Iterable[Document]) -> list[ManifestError]:
    """Everything that is wrong with these documents, in their order."""
    documents = list(documents)
    features = _features(documents)
    errors: list[ManifestError] = []
    seen: set[tuple[str, str, str]] = set()
    for document in documents:
        errors += [
            document.error(path, reason) for path, reason in problems(document) if _BEHIND.get(reason) not in features
        ]
        identity = (_type(document), document.namespace, document.name)
        if identity in seen:
            errors.append(document.error(("metadata", "name"), f"there are two of this {document.kind}"))
        seen.add(identity)
    return errors


def _features(documents: Iterable[Document]) -> set[str]:
    """The features that Knative's config-features, Serving's and Eventing's, turn on."""
    return {
        str(name)
        for one in documents
        if (one.kind, one.name) == ("ConfigMap", "config-features")
        and one.namespace in {"knative-eventing", "knative-serving"}
        for name, value in (one.body.get("data") or {}).items()
        if str(value).lower() == "enabled"
    }


def problems(document: Document) -> Iterator[Problem]:
    """What is wrong with one document, field by field."""
    kind = _type(document)
    fields = FIELDS.get(kind)
    if fields is None:
        why = f": {NOT_HERE[kind]}" if kind in NOT_HERE else did_you_mean(kind, FIELDS)
        yield ("kind",), f"{kind} is not supported by the local runtime{why}"
        return
    name = document.name
    if not name or not _DNS_NAME.match(name):
        yield ("metadata", "name"), "a name is lower-case letters, digits and hyphens"
    found = list(_unknown(document.body, fields, ()))
    yield from found
    if not found:
        # Fields that should not be there would only make the others' checks stumble.
        yield from _CHECKS.get(kind, _nothing)(document.body)


def _type(document: Document) -> str:
    return f"{document.body.get('apiVersion', '')} {document.kind}"


def _nothing(_: Mapping[str, Any]) -> Iterator[Problem]:
    return iter(())


def _unknown(value: Any, fields: Any, path: Path) -> Iterator[Problem]:
    """Fields that no one knows, or that are refused with a reason of their own; and objects that are none."""
    if isinstance(fields, Approximated):
        return
    if isinstance(fields, str):
        yield path, fields
    elif isinstance(fields, list):
        if not isinstance(value, list):
            yield path, "this has to be a list"
            return
        for index, one in enumerate(value):
            yield from _unknown(one, fields[0], (*path, index))
    elif isinstance(fields, Mapping) and fields is not ANY and value is not None:
        if not isinstance(value, Mapping):
            yield path, "this has to be an object"
            return
        for name, one in value.items():
            reason = f"there is no such field{did_you_mean(name, fields)}"
            yield from _unknown(one, fields.get(name, reason), (*path, name))


def _check_service(body: Mapping[str, Any]) -> Iterator[Problem]:
    name = str(body["metadata"]["name"])
    if not _DNS_LABEL.match(name):
        reason = "a Service's name is a DNS label (RFC 1035): it begins with a letter, at most 63 long"
        yield ("metadata", "name"), reason
    for annotation in body["metadata"].get("annotations") or {}:
        if annotation.startswith("autoscaling.knative.dev/"):
            yield ("metadata", "annotations", annotation), "this belongs to spec.template.metadata.annotations"
    spec = body.get("spec") or {}
    yield from _check_template(spec.get("template") or {}, name, ("spec", "template"))
    yield from _check_traffic(spec.get("traffic"), ("spec", "traffic"))


def _check_template(template: Mapping[str, Any], service: str, path: Path) -> Iterator[Problem]:
    metadata = template.get("metadata") or {}
    yield from _check_autoscaling(metadata.get("annotations") or {}, (*path, "metadata", "annotations"))
    own = metadata.get("name")
    if own and not (_DNS_LABEL.match(str(own)) and str(own).startswith(f"{service}-")):
        yield (*path, "metadata", "name"), f"a revision's name is a DNS label that begins with {service}-"
    spec = template.get("spec") or {}
    path = (*path, "spec")
    for name, most in (
        ("timeoutSeconds", 600),
        ("responseStartTimeoutSeconds", 600),
        ("idleTimeoutSeconds", 600),
        ("containerConcurrency", 1000),
    ):
        if not _whole(spec.get(name, 0), 0, most):
            yield (*path, name), f"this has to be a whole number from 0 to {most}"
    containers = spec.get("containers") or []
    if not containers:
        yield (*path, "containers"), "a Service has a container"
    if len(containers) > 1:
        yield (*path, "containers"), NOT_YET + ": several containers"
    for index, container in enumerate(containers):
        yield from _check_container(container, (*path, "containers", index))


def _check_traffic(traffic: list[Mapping[str, Any]] | None, path: Path) -> Iterator[Problem]:
    """v1/route_validation.go."""
    if traffic is None:
        return
    tags: set[str] = set()
    for index, one in enumerate(traffic):
        percent = one.get("percent", 0)
        if not _whole(percent, 0, 100):
            yield (*path, index, "percent"), "this has to be a whole number from 0 to 100"
            return
        if bool(one.get("revisionName")) == bool(one.get("latestRevision", not one.get("revisionName"))):
            yield (*path, index), "revisionName is given exactly when latestRevision is false"
        tag = one.get("tag")
        if tag is not None and not _DNS_LABEL.match(str(tag)):
            yield (*path, index, "tag"), "a tag is a DNS label (RFC 1035)"
        if tag is not None and str(tag) in tags:
            yield (*path, index, "tag"), f"the tag {tag} stands here twice"
        tags.add(str(tag))
    total = sum(int(one.get("percent") or 0) for one in traffic)
    if total != 100:
        yield path, f"the percents add up to {total}, not to 100"


def _check_container(container: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if container.get("name") == "queue-proxy":
        yield (*path, "name"), "this name is Knative's own"
    if not container.get("image"):
        yield (*path, "image"), "a container has an image"
    for index, variable in enumerate(container.get("env") or ()):
        if variable.get("name") in _RESERVED_ENV:
            yield (*path, "env", index, "name"), f"{variable['name']} is set by Knative"
        if not variable.get("name"):
            yield (*path, "env", index), "a variable has a name"
    yield from _check_ports(container.get("ports") or [], (*path, "ports"))
    for name in ("readinessProbe", "livenessProbe"):
        probe = container.get(name)
        if probe is not None and len({"httpGet", "tcpSocket", "grpc"} & set(probe)) != 1:
            yield (*path, name), "a probe has exactly one of httpGet, tcpSocket, grpc"


def _check_ports(ports: list[Mapping[str, Any]], path: Path) -> Iterator[Problem]:
    if len(ports) > 1:
        yield path, "Knative takes one port"
    for index, port in enumerate(ports):
        where = (*path, index)
        if port.get("name", "") not in {"", "h2c", "http1"}:
            yield (*where, "name"), "a port's name is h2c, http1 or empty"
        if port.get("containerPort") in _RESERVED_PORTS:
            yield (*where, "containerPort"), "this port is Knative's own"
        if not _whole(port.get("containerPort", 8080), 1, 65535):
            yield (*where, "containerPort"), "a port is a number from 1 to 65535"
        if port.get("protocol", "TCP") != "TCP":
            yield (*where, "protocol"), "Knative takes TCP only"


_CAMEL = re.compile(r"[A-Z]")


def canonical(annotations: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations with Knative's older spelling (`minScale`) turned into its own (`min-scale`)."""
    renamed = {}
    for name, value in annotations.items():
        prefix, slash, short = str(name).rpartition("/")
        if prefix == "autoscaling.knative.dev":
            short = _CAMEL.sub(lambda found: f"-{found[0].lower()}", short)
        renamed[f"{prefix}{slash}{short}"] = value
    return renamed


def _check_autoscaling(annotations: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Ranges of annotation_validation.go; those that change nothing here below two replicas are let pass."""
    for name, value in annotations.items():
        if not name.startswith("autoscaling.knative.dev/"):
            continue
        short = name.partition("/")[2]
        rule = _AUTOSCALING.get(next(iter(canonical({name: ""}))).partition("/")[2])
        if not isinstance(value, str):
            yield (*path, name), "an annotation's value is text: put it in quotes"
        elif rule is None:
            yield (*path, name), f"there is no such annotation{did_you_mean(short, _AUTOSCALING)}"
        elif (reason := rule(value)) is not None:
            yield (*path, name), reason
    annotations = canonical(annotations)
    low, high = (str(annotations.get(f"autoscaling.knative.dev/{name}", "0")) for name in ("min-scale", "max-scale"))
    if low.isdigit() and high.isdigit() and 0 < int(high) < int(low):
        yield (*path, "autoscaling.knative.dev/max-scale"), "max-scale is less than min-scale"


def _number(low: float, high: float = float("inf")) -> Callable[[str], str | None]:
    def rule(text: str) -> str | None:
        try:
            value = float(text)
        except ValueError:
            return "this has to be a number"
        return None if low <= value <= high else f"this has to be from {low:g} to {high:g}"

    return rule


def _count(low: int) -> Callable[[str], str | None]:
    return lambda text: (
        None if text.isdigit() and int(text) >= low else f"this has to be a whole number, at least {low}"
    )


def _seconds(low: float, high: float) -> Callable[[str], str | None]:
    def rule(text: str) -> str | None:
        try:
            value = durations.seconds(text)
        except ValueError:
            return "this has to be a duration such as 30s"
        return None if low <= value <= high else f"this has to be from {low:g}s to {high:g}s"

    return rule


def _one_of(*names: str) -> Callable[[str], str | None]:
    return lambda text: None if text in names else f"this has to be one of {', '.join(names)}"


_AUTOSCALING: Mapping[str, Callable[[str], str | None]] = {
    "class": _one_of("kpa.autoscaling.knative.dev", "hpa.autoscaling.knative.dev"),
    "metric": _one_of("concurrency", "rps", "cpu", "memory"),
    "target": _number(0.01),
    "target-utilization-percentage": _number(1, 100),
    "min-scale": _count(0),
    "max-scale": _count(0),
    "initial-scale": _count(1),
    "activation-scale": _count(2),
    "window": _seconds(6, 3600),
    "panic-window-percentage": _number(1, 100),
    "panic-threshold-percentage": _number(110, 1000),
    "target-burst-capacity": _number(-1),
    "scale-down-delay": _seconds(0, 3600),
    "scale-to-zero-pod-retention-period": _seconds(0, 3600),
    "metric-aggregation-algorithm": _one_of("linear", "weighted-exponential"),
}


def _whole(value: Any, low: int, high: int) -> bool:
    return str(value).isdigit() and low <= int(str(value)) <= high


def _check_delivery(spec: Mapping[str, Any]) -> Iterator[Problem]:
    if "delivery" in spec:
        try:
            delivery.parse_delivery(spec["delivery"] or {})
        except delivery.InvalidDelivery as error:
            field = str(error).partition(" ")[0].partition(".")[2]
            yield ("spec", "delivery", field), str(error)


def _check_broker(body: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _check_delivery(body.get("spec") or {})


def _check_trigger(body: Mapping[str, Any]) -> Iterator[Problem]:
    spec = body.get("spec") or {}
    if bool(spec.get("broker")) == bool(spec.get("brokerRef")):
        yield ("spec", "broker"), "a Trigger names its Broker, by broker or by brokerRef"
    yield from _check_destination(spec.get("subscriber"), ("spec", "subscriber"))
    yield from _check_delivery(spec)
    try:
        filters.compile_filters(spec)
    except filters.InvalidFilter as error:
        yield ("spec", "filters" if spec.get("filters") else "filter"), str(error)


def _check_event_type(body: Mapping[str, Any]) -> Iterator[Problem]:
    """v1beta3/eventtype_validation.go, and its CustomResourceDefinition."""
    attributes = (body.get("spec") or {}).get("attributes") or []
    for index, attribute in enumerate(attributes):
        if not (isinstance(attribute.get("name"), str) and isinstance(attribute.get("value", ""), str)):
            yield ("spec", "attributes", index), "an attribute has a name, and its value is text"
        if not isinstance(attribute.get("required", False), bool):
            yield ("spec", "attributes", index, "required"), "this has to be true or false"
    missing = {"type", "source", "specversion", "id"} - {attribute.get("name") for attribute in attributes}
    if missing:
        yield ("spec", "attributes"), f"an EventType says which {', '.join(sorted(missing))} its events have"


def _check_ping_source(body: Mapping[str, Any]) -> Iterator[Problem]:
    spec = body.get("spec") or {}
    schedule = str(spec.get("schedule", "* * * * *"))
    if schedule.startswith("@every"):
        yield ("spec", "schedule"), "Knative takes no @every"
    elif not schedule.startswith("@"):
        try:
            CronSim(schedule, _EPOCH)
        except CronSimError as error:
            yield ("spec", "schedule"), f"this is no schedule: {error}"
    if "data" in spec and "dataBase64" in spec:
        yield ("spec", "data"), "data or dataBase64, not both"
    if spec.get("contentType", "") == "application/json" and "data" in spec:
        try:
            json.loads(str(spec["data"]))
        except ValueError:
            yield ("spec", "data"), "this is not JSON, which contentType says it is"
    yield from _check_destination(spec.get("sink"), ("spec", "sink"))


def _check_sink_binding(body: Mapping[str, Any]) -> Iterator[Problem]:
    spec = body.get("spec") or {}
    subject = spec.get("subject") or {}
    if ("name" in subject) == ("selector" in subject):
        yield ("spec", "subject"), "a subject has a name or a selector, not both"
    yield from _check_destination(spec.get("sink"), ("spec", "sink"))


def _check_destination(destination: Any, path: Path) -> Iterator[Problem]:
    if not isinstance(destination, Mapping) or not destination:
        yield path, "this has to have a ref or a uri"
        return
    uri = destination.get("uri")
    if "ref" in destination:
        if uri is not None and not str(uri).startswith("/"):
            yield (*path, "uri"), "beside a ref the uri is relative: it begins with /"
        kind = (destination["ref"] or {}).get("kind")
        if kind not in _ADDRESSABLE:
            known = ", ".join(sorted(_ADDRESSABLE))
            yield (*path, "ref", "kind"), f"{kind} is not supported by the local runtime; these are: {known}"
    elif not re.match(r"^https?://[^/]+", str(uri)):
        yield (*path, "uri"), "this has to be an absolute http(s) URL"


def _check_subscription(body: Mapping[str, Any]) -> Iterator[Problem]:
    spec = body.get("spec") or {}
    if not (spec.get("channel") or {}).get("name"):
        yield ("spec", "channel"), "a Subscription names its Channel"
    if not spec.get("subscriber") and not spec.get("reply"):
        yield ("spec",), "a Subscription has a subscriber, a reply, or both"
    for name in ("subscriber", "reply"):
        if spec.get(name):
            yield from _check_destination(spec[name], ("spec", name))
    yield from _check_delivery(spec)


def _check_sequence(body: Mapping[str, Any]) -> Iterator[Problem]:
    spec = body.get("spec") or {}
    if not spec.get("steps"):
        yield ("spec", "steps"), "a Sequence has steps"
    for index, step in enumerate(spec.get("steps") or ()):
        place = {name: step[name] for name in ("ref", "uri") if name in step}
        yield from _check_destination(place, ("spec", "steps", index))
    if spec.get("reply"):
        yield from _check_destination(spec["reply"], ("spec", "reply"))


def _check_parallel(body: Mapping[str, Any]) -> Iterator[Problem]:
    spec = body.get("spec") or {}
    if not spec.get("branches"):
        yield ("spec", "branches"), "a Parallel has branches"
    for index, branch in enumerate(spec.get("branches") or ()):
        yield from _check_destination(branch.get("subscriber"), ("spec", "branches", index, "subscriber"))
        for name in ("filter", "reply"):
            if branch.get(name):
                yield from _check_destination(branch[name], ("spec", "branches", index, name))
    if spec.get("reply"):
        yield from _check_destination(spec["reply"], ("spec", "reply"))


def _check_container_source(body: Mapping[str, Any]) -> Iterator[Problem]:
    spec = body.get("spec") or {}
    yield from _check_destination(spec.get("sink"), ("spec", "sink"))
    template = spec.get("template") or {}
    if not (template.get("spec") or {}).get("containers"):
        yield ("spec", "template", "spec", "containers"), "a ContainerSource has a container"
    if "wake.dev/local-command" not in ((template.get("metadata") or {}).get("annotations") or {}):
        reason = (
            "say by the annotation wake.dev/local-command what stands in for its image: there is no container engine"
        )
        yield ("spec", "template", "metadata", "annotations"), reason


def _check_route(body: Mapping[str, Any]) -> Iterator[Problem]:
    for index, rule in enumerate((body.get("spec") or {}).get("rules") or ()):
        path: Path = ("spec", "rules", index)
        rewrites = [one for one in rule.get("filters") or () if one.get("type") == "URLRewrite"]
        if len(rewrites) != 1 or not re.match(
            r"^[a-z0-9-]+\.[a-z0-9-]+\.svc(\.cluster\.local)?$", str(rewrites[0].get("urlRewrite", {}).get("hostname"))
        ):
            yield (*path, "filters"), "a rule has one URLRewrite, to the cluster-local hostname of a Service"
        for number, match in enumerate(rule.get("matches") or ()):
            where = (*path, "matches", number, "path")
            if (match.get("path") or {}).get("type", "PathPrefix") not in {"Exact", "PathPrefix"}:
                yield (*where, "type"), "Exact and PathPrefix are supported"
            if not str((match.get("path") or {}).get("value", "")).startswith("/"):
                yield (*where, "value"), "a path begins with /"


def _check_job(body: Mapping[str, Any]) -> Iterator[Problem]:
    pod = ((body.get("spec") or {}).get("template") or {}).get("spec") or {}
    if pod.get("restartPolicy") not in {"Never", "OnFailure"}:
        yield ("spec", "template", "spec", "restartPolicy"), "a Job's restartPolicy is Never or OnFailure"
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(kind) or ()):
            if not container.get("command"):
                reason = "the local runtime needs the command: it has no image to ask"
                yield ("spec", "template", "spec", kind, index, "command"), reason


def _check_config_map(body: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in (body.get("data") or {}).items():
        if not isinstance(value, str):
            yield ("data", name), "a ConfigMap holds text: put it in quotes"


_ADDRESSABLE = frozenset({"Service", "Broker", "Channel", "Sequence", "Parallel"})
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Problem]]] = {
    "serving.knative.dev/v1 Service": _check_service,
    "eventing.knative.dev/v1 Broker": _check_broker,
    "eventing.knative.dev/v1 Trigger": _check_trigger,
    "eventing.knative.dev/v1beta3 EventType": _check_event_type,
    "messaging.knative.dev/v1 Channel": _check_broker,
    "messaging.knative.dev/v1 Subscription": _check_subscription,
    "flows.knative.dev/v1 Sequence": _check_sequence,
    "flows.knative.dev/v1 Parallel": _check_parallel,
    "sources.knative.dev/v1 PingSource": _check_ping_source,
    "sources.knative.dev/v1 ContainerSource": _check_container_source,
    "sources.knative.dev/v1 SinkBinding": _check_sink_binding,
    "gateway.networking.k8s.io/v1 HTTPRoute": _check_route,
    "batch/v1 Job": _check_job,
    "v1 ConfigMap": _check_config_map,
}
