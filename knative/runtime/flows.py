"""Sequence and Parallel as what Knative makes of them: Channels and Subscriptions. Pure.

Sources: Knative Eventing pkg/reconciler/sequence/resources, pkg/reconciler/parallel/resources (the names).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from knative.runtime.kustomize import Document


def expanded(documents: Iterable[Document]) -> list[Document]:
    """The same documents, with the Channels and Subscriptions of each Sequence and Parallel after it."""
    found = []
    for one in documents:
        found.append(one)
        if one.kind == "Sequence":
            found += [Document(body, one.file, one.lines) for body in _sequence(one)]
        elif one.kind == "Parallel":
            found += [Document(body, one.file, one.lines) for body in _parallel(one)]
    return found


def entrance(kind: str, name: str) -> str:
    """The Channel that a Sequence's or Parallel's events go to first."""
    return f"{name}-kn-sequence-0" if kind == "Sequence" else f"{name}-kn-parallel"


def _sequence(document: Document) -> Iterator[dict[str, Any]]:
    spec = document.body["spec"]
    steps = spec["steps"]
    for index, step in enumerate(steps):
        name = f"{document.name}-kn-sequence-{index}"
        following = f"{document.name}-kn-sequence-{index + 1}"
        reply = _channel_ref(following) if index + 1 < len(steps) else spec.get("reply")
        subscriber = {key: step[key] for key in ("ref", "uri") if key in step}
        yield _object("Channel", name, document)
        yield _subscription(name, name, document, subscriber, reply, step.get("delivery"))


def _parallel(document: Document) -> Iterator[dict[str, Any]]:
    spec = document.body["spec"]
    entry = entrance("Parallel", document.name)
    yield _object("Channel", entry, document)
    for index, branch in enumerate(spec["branches"]):
        name = f"{entry}-{index}"
        delivery = branch.get("delivery")
        yield _object("Channel", name, document)
        # A filter is a subscriber: what it does not answer with an event goes no further.
        yield _subscription(
            f"{entry}-filter-{index}", entry, document, branch.get("filter"), _channel_ref(name), delivery
        )
        reply = branch.get("reply") or spec.get("reply")
        yield _subscription(name, name, document, branch["subscriber"], reply, delivery)


def _channel_ref(name: str) -> dict[str, Any]:
    return {"ref": {"apiVersion": "messaging.knative.dev/v1", "kind": "Channel", "name": name}}


def _object(kind: str, name: str, document: Document, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    annotations = (document.body.get("metadata") or {}).get("annotations") or {}
    return {
        "apiVersion": "messaging.knative.dev/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": document.namespace, "annotations": dict(annotations)},
        "spec": dict(spec or {}),
    }


def _subscription(
    name: str,
    channel: str,
    document: Document,
    subscriber: Mapping[str, Any] | None,
    reply: Mapping[str, Any] | None,
    delivery: Mapping[str, Any] | None,
) -> dict[str, Any]:
    fields = {"subscriber": subscriber, "reply": reply, "delivery": delivery}
    spec = {"channel": _channel_ref(channel)["ref"], **{key: value for key, value in fields.items() if value}}
    return _object("Subscription", name, document, spec)
