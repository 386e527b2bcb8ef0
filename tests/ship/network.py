"""What NetworkPolicies let through, by Kubernetes' own rules (networking.k8s.io/v1). Pure.

Whoever is selected is denied what no policy that selects it allows, and a connection needs both ends' consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Literal

NAMESPACE = "shop"
Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """Somebody in the cluster."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = NAMESPACE


@dataclass(frozen=True)
class Outside:
    """An address outside the cluster."""

    address: str


def connects(policies: Iterable[Policy], source: Pod | Outside, target: Pod | Outside, port: int) -> bool:
    """Whether a TCP connection comes about."""
    policies = list(policies)
    return _consents(policies, source, target, port, "Egress") and _consents(policies, target, source, port, "Ingress")


def _consents(
    policies: list[Policy], one: Pod | Outside, other: Pod | Outside, port: int, way: Literal["Ingress", "Egress"]
) -> bool:
    """Whether *one* may talk this way, to or from *other*. The policies are our namespace's."""
    if isinstance(one, Outside) or one.namespace != NAMESPACE:
        return True
    selecting = [
        policy
        for policy in policies
        if way in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], one.labels)
    ]
    return not selecting or any(_allows(rule, other, port, way) for rule in _rules(selecting, way))


def _rules(policies: Iterable[Policy], way: str) -> Iterator[Mapping[str, Any]]:
    for policy in policies:
        yield from policy["spec"].get(way.lower()) or ()


def _allows(rule: Mapping[str, Any], other: Pod | Outside, port: int, way: str) -> bool:
    peers = rule.get("from" if way == "Ingress" else "to")
    ports = rule.get("ports")
    return (peers is None or any(_is(peer, other) for peer in peers)) and (
        ports is None or any(one.get("protocol", "TCP") == "TCP" and one["port"] == port for one in ports)
    )


def _is(peer: Mapping[str, Any], other: Pod | Outside) -> bool:
    block = peer.get("ipBlock")
    if isinstance(other, Outside):
        return block is not None and _within(other.address, block)
    if block is not None:
        return False
    there = {"kubernetes.io/metadata.name": other.namespace}
    in_namespace = (
        selects(peer["namespaceSelector"], there) if "namespaceSelector" in peer else other.namespace == NAMESPACE
    )
    return in_namespace and selects(peer.get("podSelector", {}), other.labels)


def _within(address: str, block: Mapping[str, Any]) -> bool:
    where = ip_address(address)
    return where in ip_network(block["cidr"]) and not any(where in ip_network(one) for one in block.get("except", ()))


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector; an empty one selects all."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _matches(one, labels) for one in selector.get("matchExpressions") or ()
    )


def _matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    held = labels.get(expression["key"])
    return {
        "In": held in expression.get("values", ()),
        "NotIn": held not in expression.get("values", ()),
        "Exists": held is not None,
        "DoesNotExist": held is None,
    }[expression["operator"]]
