"""What functions on Lambda find in their environment: the YAML's own variables, its Secrets by reference. Pure.

A neighbour (`http://NAME.NAMESPACE.svc.cluster.local/…`) is reached by a function URL. CloudFormation makes a function
after those whose URLs it is told, so that two cannot be told each other's: what would close a circle is left out, that
of a ConfigMap that all share after that which a function's own `env` does not need.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from knative.runtime.addresses import CLUSTER_DOMAIN
from knative.runtime.resources import Platform, Service, Variable

_NEIGHBOUR = re.compile(rf"https?://(?P<name>[a-z0-9-]+)\.[a-z0-9-]+\.{re.escape(CLUSTER_DOMAIN)}(?P<path>/.*)?")


def logical(name: str) -> str:
    """A name as CloudFormation has it: orders-place is OrdersPlace."""
    return "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", name))


def neighbour(value: Any) -> str | None:
    """The function that a variable is the address of."""
    found = _NEIGHBOUR.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else found["name"]


def shared(service: Service, platform: Platform) -> dict[str, str]:
    """Its ConfigMaps' variables."""
    found: dict[str, str] = {}
    for source in service.container.environment_from:
        if source.config_map is not None:
            data = platform.config_maps[service.namespace, source.config_map].data
            found |= {f"{source.prefix}{name}": value for name, value in data.items()}
    return found


def own(service: Service, platform: Platform) -> dict[str, str | Variable]:
    """Its own variables: values, a ConfigMap's among them, and references to Secrets."""
    found: dict[str, str | Variable] = {}
    for variable in service.container.variables:
        if variable.secret is not None:
            found[variable.name] = variable
        elif variable.config_map is not None:
            name, key = variable.config_map
            found[variable.name] = platform.config_maps[service.namespace, name].data[key]
        else:
            found[variable.name] = variable.value or ""
    return found


@dataclass
class Addresses:
    """Which function is told whose address, and what it could not be told."""

    told: dict[str, set[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def tell(self, who: str, whom: str, variable: str) -> bool:
        """Whether *who* can be told where *whom* is; nobody needs to be told of itself."""
        if who == whom:
            return False
        if self._reaches(whom, who):
            self.left_out.append(f"{variable} of {who}: {whom} is told where {who} is, and not the other way round")
            return False
        self.told.setdefault(who, set()).add(whom)
        return True

    def _reaches(self, start: str, end: str) -> bool:
        return any(one == end or self._reaches(one, end) for one in self.told.get(start, ()))

    @property
    def functions(self) -> set[str]:
        """Those that have a URL."""
        return {one for told in self.told.values() for one in told}


def environments(services: Mapping[str, Service], platform: Platform) -> tuple[dict[str, dict[str, Any]], Addresses]:
    """Each function's variables, and the addresses among them."""
    addresses = Addresses()
    found: dict[str, dict[str, Any]] = {name: {"FUNCTION": name} for name in services}
    for name, service in services.items():
        found[name] |= dict(_told(shared(service, platform), name, services, addresses))
    for name, service in services.items():
        found[name] |= dict(_told(own(service, platform), name, services, addresses))
        if service.sink is not None and service.sink.kind == "Broker":
            found[name]["K_SINK"] = {"Fn::Sub": f"eventbridge://${{{logical(str(service.sink.name))}Bus}}"}
    return found, addresses


def _told(
    variables: Mapping[str, str | Variable], name: str, services: Mapping[str, Service], addresses: Addresses
) -> Iterator[tuple[str, Any]]:
    for variable, value in variables.items():
        if isinstance(value, Variable):
            yield variable, _secret(value)
        elif (whom := neighbour(value)) is None:
            yield variable, value
        elif whom in services and addresses.tell(name, whom, variable):
            yield variable, _address(whom, value)


def _address(whom: str, value: str) -> dict[str, Any]:
    """Its URL, which CloudFormation gives with a slash at its end."""
    found = _NEIGHBOUR.fullmatch(value)
    path = (found and found["path"]) or ""
    host = {"Fn::Select": [2, {"Fn::Split": ["/", {"Fn::GetAtt": [f"{logical(whom)}Url", "FunctionUrl"]}]}]}
    return {"Fn::Sub": [f"https://${{Host}}{path.rstrip('/')}", {"Host": host}]}


def _secret(variable: Variable) -> Any:
    """What Secrets Manager holds under the Secret's name: a JSON object with its keys."""
    assert variable.secret is not None  # noqa: S101 - the caller has looked.
    name, key = variable.secret
    reference = {"Fn::Sub": f"{{{{resolve:secretsmanager:${{SecretPrefix}}{name}:SecretString:{key}}}}}"}
    return {"Fn::If": [condition(name), reference, {"Ref": "AWS::NoValue"}]} if variable.optional else reference


def condition(secret: str) -> str:
    """Whether an optional Secret is there."""
    return f"Has{logical(secret)}"
