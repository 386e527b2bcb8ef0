"""Where things are called: a Service by its cluster-local name, a Broker by its ingress. Pure."""

from __future__ import annotations

import copy
from typing import Any

from knative.runtime import flows
from knative.runtime.resources import Broker, Destination, Messaging, Platform, Trigger

CLUSTER_DOMAIN = "svc.cluster.local"


def url(destination: Destination, broker_ingress: str) -> str:
    """The URL of a destination; *broker_ingress* is where all Brokers' ingresses are."""
    if destination.kind is None:
        return str(destination.uri)
    path = "/" + destination.path.lstrip("/") if destination.path else ""
    if destination.kind == "Broker":
        return f"{broker_ingress}/{destination.namespace}/{destination.name}"
    if destination.kind in {"Sequence", "Parallel"}:
        entrance = flows.entrance(destination.kind, str(destination.name))
        return f"{broker_ingress}/{destination.namespace}/channels/{entrance}"
    if destination.kind == "Channel":
        return f"{broker_ingress}/{destination.namespace}/channels/{destination.name}"
    return f"http://{destination.name}.{destination.namespace}.{CLUSTER_DOMAIN}{path}"


def destination_of(spec: dict[str, Any], namespace: str) -> Destination:
    """A Destination as Knative's YAML has it: `ref`, `uri`, or a ref with a relative uri."""
    ref = spec.get("ref") or {}
    uri = spec.get("uri")
    return Destination(
        uri=None if ref else uri,
        kind=ref.get("kind"),
        name=ref.get("name"),
        namespace=ref.get("namespace", namespace) if ref else None,
        path=uri if ref else None,
    )


def broker_documents(platform: Platform, broker_ingress: str) -> list[dict[str, Any]]:
    """Everything that carries events, every reference a `uri`: what `python -m eventing.broker` takes."""
    documents = []
    carriers: list[Broker | Trigger | Messaging] = [*platform.brokers, *platform.triggers, *platform.messaging]
    for one in carriers:
        body = copy.deepcopy(dict(one.body))
        spec = body.get("spec") or {}
        delivery = spec.get("delivery") or {}
        for holder, name in ((spec, "subscriber"), (spec, "reply"), (delivery, "deadLetterSink")):
            if name in holder:
                holder[name] = {"uri": url(destination_of(holder[name], one.namespace), broker_ingress)}
        documents.append(body)
    return documents
