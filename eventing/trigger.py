"""Brokers and Triggers, Channels and Subscriptions, read from Knative YAML whose references were resolved to URLs.

A Channel is served beside the Brokers, under the name `NAMESPACE/channels/NAME`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from eventing.delivery import (
    RABBITMQ,
    RULES,
    RULES_ANNOTATION,
    STRICTEST,
    DeliverySpec,
    InvalidDelivery,
    Rules,
    parse_delivery,
)
from eventing.filters import InvalidFilter, Matches, compile_filters, exact_type

# What Knative's Kafka Broker calls it; there the order is that of a partition, here that of a subject.
ORDER_ANNOTATION = "kafka.eventing.knative.dev/delivery.order"

_OF_TRIGGER = frozenset({"broker", "brokerRef", "delivery", "filter", "filters", "subscriber"})
_OF_SUBSCRIPTION = frozenset({"channel", "delivery", "reply", "subscriber"})


class InvalidManifest(ValueError):
    """A Broker or Trigger that cannot be served; the message names it and what is wrong."""


@dataclass(frozen=True)
class Trigger:
    """One Trigger or Subscription: which events, to whom, and how hard to try.

    A Trigger's replies go back to its Broker, and a 2xx with a body that is no event has failed. A Subscription's
    replies go to its `reply`, or nowhere, and other bodies are thrown away (pkg/kncloudevents/event_dispatcher.go).
    Without a subscriber the event itself goes to `reply`.
    """

    namespace: str
    name: str
    broker: str
    subscriber: str | None
    reply: str | None
    of_channel: bool
    delivery: DeliverySpec
    matches: Matches
    event_type: str | None
    # Events of one subject one after the other.
    ordered: bool
    # What it was made of: two equal ones need no new subscription.
    definition: str

    @property
    def key(self) -> str:
        """Namespace and name; a Subscription may have the name of a Trigger."""
        return f"{self.namespace}/{'subscriptions/' * self.of_channel}{self.name}"


@dataclass(frozen=True)
class Manifest:
    """The Brokers and Channels that events may be sent to, and their Triggers and Subscriptions."""

    brokers: frozenset[str]
    triggers: tuple[Trigger, ...]


def read(file: Path) -> Manifest:
    """Read a file of Broker and Trigger documents.

    Raises:
        InvalidManifest: one of them cannot be served, or the file is no YAML.
    """
    try:
        documents = [one for one in yaml.safe_load_all(file.read_text()) if one]
    except OSError as error:
        raise InvalidManifest(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidManifest(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    if not all(isinstance(one, Mapping) for one in documents):
        raise InvalidManifest(f"{file} holds something that is no Kubernetes object")
    return parse(documents)


def parse(documents: Iterable[Mapping[str, Any]]) -> Manifest:
    """The Brokers and Triggers among these documents; a Trigger's own delivery replaces its Broker's wholesale.

    Raises:
        InvalidManifest: one of them cannot be served.
    """
    documents = list(documents)
    brokers = {_key(one): one for one in documents if one.get("kind") == "Broker"}
    channels = {_channel(one): one for one in documents if one.get("kind") == "Channel"}
    triggers = [_trigger(one, brokers) for one in documents if one.get("kind") == "Trigger"]
    subscriptions = [_subscription(one, channels) for one in documents if one.get("kind") == "Subscription"]
    return Manifest(frozenset([*brokers, *channels]), (*triggers, *subscriptions))


def _trigger(document: Mapping[str, Any], brokers: Mapping[str, Mapping[str, Any]]) -> Trigger:
    namespace, _, name = _key(document).partition("/")
    spec: Mapping[str, Any] = document.get("spec") or {}
    broker = f"{namespace}/{spec.get('broker')}"
    if broker not in brokers:
        raise InvalidManifest(f"Trigger {namespace}/{name}: there is no Broker {broker}")
    _known(spec, _OF_TRIGGER, f"Trigger {namespace}/{name}")
    subscriber = _uri(spec, "subscriber", f"Trigger {namespace}/{name}")
    if subscriber is None:
        raise InvalidManifest(f"Trigger {namespace}/{name}: spec.subscriber has no uri")
    delivery = spec.get("delivery") or (brokers[broker].get("spec") or {}).get("delivery")
    try:
        rules = _rules(brokers[broker])
        return Trigger(
            namespace=namespace,
            name=name,
            broker=broker,
            subscriber=subscriber,
            reply=None,
            of_channel=False,
            delivery=_delivery(delivery, rules),
            # RabbitMQ's broker looks at `filter` only.
            matches=compile_filters({"filter": spec.get("filter")} if rules is RABBITMQ else spec),
            event_type=exact_type(spec),
            ordered=_ordered(document),
            definition=repr((spec, delivery, rules, _ordered(document))),
        )
    except (InvalidDelivery, InvalidFilter) as error:
        raise InvalidManifest(f"Trigger {namespace}/{name}: {error}") from error


def _subscription(document: Mapping[str, Any], channels: Mapping[str, Mapping[str, Any]]) -> Trigger:
    namespace, _, name = _key(document).partition("/")
    spec: Mapping[str, Any] = document.get("spec") or {}
    channel = f"{namespace}/channels/{(spec.get('channel') or {}).get('name')}"
    if channel not in channels:
        raise InvalidManifest(f"Subscription {namespace}/{name}: there is no Channel {channel}")
    _known(spec, _OF_SUBSCRIPTION, f"Subscription {namespace}/{name}")
    subscriber, reply = (_uri(spec, one, f"Subscription {namespace}/{name}") for one in ("subscriber", "reply"))
    if not subscriber and not reply:
        raise InvalidManifest(f"Subscription {namespace}/{name} has neither a subscriber nor a reply")
    delivery = spec.get("delivery") or (channels[channel].get("spec") or {}).get("delivery")
    try:
        rules = _rules(channels[channel])
        return Trigger(
            namespace=namespace,
            name=name,
            broker=channel,
            subscriber=subscriber,
            reply=reply,
            of_channel=True,
            delivery=_delivery(delivery, rules),
            matches=lambda _: True,
            event_type=None,
            ordered=_ordered(document),
            definition=repr((spec, delivery, rules, _ordered(document))),
        )
    except InvalidDelivery as error:
        raise InvalidManifest(f"Subscription {namespace}/{name}: {error}") from error


def _known(spec: Mapping[str, Any], fields: frozenset[str], who: str) -> None:
    """A filter whose name is misspelt would let every event through."""
    if unknown := sorted(spec.keys() - fields):
        raise InvalidManifest(f"{who}: spec has no field {unknown[0]}; it has {', '.join(sorted(fields))}")


def _uri(spec: Mapping[str, Any], field: str, who: str) -> str | None:
    """Where events go, or None where nothing is said; *who* says it."""
    uri = (spec.get(field) or {}).get("uri")
    if uri is None:
        return None
    where = urlsplit(str(uri))
    if where.scheme not in {"http", "https"} or not where.hostname:
        raise InvalidManifest(f"{who}: spec.{field}.uri is an http(s) URL, not {uri!r}")
    return str(uri)


def _delivery(spec: Mapping[str, Any] | None, rules: Rules) -> DeliverySpec:
    return replace(DeliverySpec() if spec is None else parse_delivery(spec), rules=rules)


def _ordered(document: Mapping[str, Any]) -> bool:
    """Whether events of one subject are delivered one after the other, by the word that Knative's Kafka Broker has."""
    order = ((document.get("metadata") or {}).get("annotations") or {}).get(ORDER_ANNOTATION, "unordered")
    if order not in {"ordered", "unordered"}:
        raise InvalidDelivery(f"{ORDER_ANNOTATION} is ordered or unordered, not {order}")
    return bool(order == "ordered")


def _rules(document: Mapping[str, Any]) -> Rules:
    """Whose rules a Broker or Channel goes by: those that its annotation names."""
    name = ((document.get("metadata") or {}).get("annotations") or {}).get(RULES_ANNOTATION, STRICTEST.name)
    if name not in RULES:
        raise InvalidDelivery(f"{RULES_ANNOTATION} is one of {', '.join(RULES)}, not {name}")
    return RULES[name]


def _channel(document: Mapping[str, Any]) -> str:
    namespace, _, name = _key(document).partition("/")
    return f"{namespace}/channels/{name}"


def _key(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata") or {}
    return f"{metadata.get('namespace', 'default')}/{metadata.get('name')}"
