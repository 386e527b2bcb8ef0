"""Brokers and Triggers as the dispatcher needs them, read from Knative YAML whose references were resolved to URLs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eventing.delivery import DeliverySpec, InvalidDelivery, parse_delivery
from eventing.filters import InvalidFilter, Matches, compile_filters, exact_type


class InvalidManifest(ValueError):
    """A Broker or Trigger that cannot be served; the message names it and what is wrong."""


@dataclass(frozen=True)
class Trigger:
    """One Trigger: which events, to whom, and how hard to try."""

    namespace: str
    name: str
    broker: str
    subscriber: str
    delivery: DeliverySpec
    matches: Matches
    event_type: str | None
    # What it was made of: two equal ones need no new subscription.
    definition: str

    @property
    def key(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Manifest:
    """The Brokers (namespace/name) that events may be sent to, and their Triggers."""

    brokers: frozenset[str]
    triggers: tuple[Trigger, ...]


def read(file: Path) -> Manifest:
    """Read a file of Broker and Trigger documents.

    Raises:
        InvalidManifest: one of them cannot be served, or the file is no YAML.
    """
    try:
        documents = [one for one in yaml.safe_load_all(file.read_text()) if one]
    except (OSError, yaml.YAMLError) as error:
        raise InvalidManifest(f"{file}: {error}") from error
    return parse(documents)


def parse(documents: Iterable[Mapping[str, Any]]) -> Manifest:
    """The Brokers and Triggers among these documents; a Trigger's own delivery replaces its Broker's wholesale.

    Raises:
        InvalidManifest: one of them cannot be served.
    """
    documents = list(documents)
    brokers = {_key(one): one for one in documents if one.get("kind") == "Broker"}
    triggers = tuple(_trigger(one, brokers) for one in documents if one.get("kind") == "Trigger")
    return Manifest(frozenset(brokers), triggers)


def _trigger(document: Mapping[str, Any], brokers: Mapping[str, Mapping[str, Any]]) -> Trigger:
    namespace, _, name = _key(document).partition("/")
    spec: Mapping[str, Any] = document.get("spec") or {}
    broker = f"{namespace}/{spec.get('broker')}"
    if broker not in brokers:
        raise InvalidManifest(f"Trigger {namespace}/{name}: there is no Broker {broker}")
    subscriber = (spec.get("subscriber") or {}).get("uri")
    if not subscriber:
        raise InvalidManifest(f"Trigger {namespace}/{name}: spec.subscriber has no uri")
    delivery = spec.get("delivery") or (brokers[broker].get("spec") or {}).get("delivery")
    try:
        return Trigger(
            namespace=namespace,
            name=name,
            broker=broker,
            subscriber=subscriber,
            delivery=DeliverySpec() if delivery is None else parse_delivery(delivery),
            matches=compile_filters(spec),
            event_type=exact_type(spec),
            definition=repr((spec, delivery)),
        )
    except (InvalidDelivery, InvalidFilter) as error:
        raise InvalidManifest(f"Trigger {namespace}/{name}: {error}") from error


def _key(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata") or {}
    return f"{metadata.get('namespace', 'default')}/{metadata.get('name')}"
