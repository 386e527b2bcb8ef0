"""The same YAML as an AWS SAM template: what `wake render --sam` prints. Pure.

A Service becomes a Lambda function, its HTTPRoutes routes of an HTTP API, a Broker an EventBridge bus, a Trigger a rule
with a queue, a PingSource a schedule, a Secret a reference to Secrets Manager. What has no equivalent is left out, and
the template begins with what that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from knative.runtime import manifests, sam_events, sam_settings
from knative.runtime.addresses import CLUSTER_DOMAIN
from knative.runtime.kubernetes import NotRenderable
from knative.runtime.kustomize import Document
from knative.runtime.resources import Platform, RouteMatch, Service, Variable
from knative.runtime.sam_events import LETTERS, LOST
from knative.runtime.sam_settings import Addresses, logical

HANDLER = "functions.aws.handler.handle"
#: Where `make lambda` puts what is uploaded, seen from knative/overlays/lambda.
CODE = "../../../.wake/lambda"
# API Gateway gives up after thirty seconds.
_HTTP_SECONDS = 29
# What failed comes again after so long: a queue's messages are out of sight while a function may still work on them.
_EVENT_SECONDS = 60
_PARAMETERS = {
    "Architecture": {"Type": "String", "Default": "arm64", "AllowedValues": ["arm64", "x86_64"]},
    "SecretPrefix": {
        "Type": "String",
        "Default": "wake/",
        "Description": "What the names of the secrets in Secrets Manager begin with.",
    },
    "SubnetIds": {
        "Type": "CommaDelimitedList",
        "Default": "",
        "Description": "Where the databases are reached; empty for outside any VPC.",
    },
    "SecurityGroupIds": {"Type": "CommaDelimitedList", "Default": "", "Description": "For the same."},
}
_UNITS = {"Mi": 1, "Gi": 1024}


def render(documents: Iterable[Document]) -> tuple[dict[str, Any], list[str]]:
    """The template, and what is left out of it, in sentences.

    Raises:
        ManifestErrors: the YAML is not as it should be.
        NotRenderable: it has something that cannot be said there, and is too much to leave out.
    """
    platform = manifests.platform(list(documents))
    if platform.messaging or platform.container_sources:
        raise NotRenderable("Channels, Subscriptions and ContainerSources have no equivalent on Lambda")
    reasons = dict(_left_out(platform))
    services = {name: one for (_, name), one in sorted(platform.services.items()) if name not in reasons}
    environments, addresses = sam_settings.environments(services, platform)
    _private(platform, addresses)
    common = _common(list(environments.values()))
    said = [*(f"{name}: {reason}" for name, reason in reasons.items()), *addresses.left_out]
    said += [f"the Job {one.name}: it is run from where the database is reached" for one in platform.jobs]
    resources = {
        "Api": {"Type": "AWS::Serverless::HttpApi", "Properties": {"FailOnWarnings": True}},
        **dict(sam_events.bus(one) for one in platform.brokers),
        **dict(_queues(platform, services)),
        **{
            logical(name): _function(one, platform, _without(environments[name], common), addresses)
            for name, one in services.items()
        },
    }
    optional = sorted({name for one in services.values() for name in _optional(one)})
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Description": "Wake: users, orders and payments, every operation a function.",
        "Parameters": _PARAMETERS | {sam_settings.condition(one): _yes_or_no(one) for one in optional},
        "Conditions": {
            "InVpc": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "SubnetIds"}]}, ""]}]},
            **{name: {"Fn::Equals": [{"Ref": name}, "true"]} for name in map(sam_settings.condition, optional)},
        },
        "Globals": {"Function": _globals(common)},
        "Resources": resources,
        "Outputs": {
            "ApiUrl": {
                "Value": {"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"},
                "Description": "Where the API is.",
            }
        },
    }, said


def _left_out(platform: Platform) -> Iterator[tuple[str, str]]:
    """The functions that cannot be there, or are never called."""
    called = _called(platform)
    for (_, name), service in sorted(platform.services.items()):
        values = [*sam_settings.shared(service, platform).values(), *sam_settings.own(service, platform).values()]
        others = [one for one in values if isinstance(one, str) and CLUSTER_DOMAIN in one]
        if service.protocol == "h2c":
            yield name, "Lambda carries no gRPC"
        elif any(sam_settings.neighbour(one) is None for one in others):
            yield name, "it calls Triggers' subscribers by their addresses, and here they have none"
        elif name not in called:
            yield name, "nothing calls it"


def _called(platform: Platform) -> set[str]:
    """Whom routes, events, schedules or neighbours lead to."""
    settings = [
        value
        for service in platform.services.values()
        for value in (*sam_settings.shared(service, platform).values(), *sam_settings.own(service, platform).values())
    ]
    return {
        *(route.service[1] for route in platform.routes),
        *(str(one.subscriber.name) for one in platform.triggers),
        *(str(one.sink.name) for one in platform.ping_sources),
        *(name for one in platform.brokers if (name := _letter_sink(one.body)) is not None),
        *(name for value in settings if (name := sam_settings.neighbour(value)) is not None),
    }


def _letter_sink(body: Mapping[str, Any]) -> str | None:
    delivery = (body.get("spec") or {}).get("delivery") or {}
    name: str | None = ((delivery.get("deadLetterSink") or {}).get("ref") or {}).get("name")
    return name


def _private(platform: Platform, addresses: Addresses) -> None:
    """What takes events must have no address: anybody's would be obeyed."""
    takers = {str(one.subscriber.name) for one in platform.triggers} | {
        str(one.sink.name) for one in platform.ping_sources
    }
    for name in sorted(takers & addresses.functions):
        raise NotRenderable(f"{name} takes events, and would have an address that anybody can post to")


def _queues(platform: Platform, services: Mapping[str, Service]) -> Iterator[tuple[str, dict[str, Any]]]:
    brokers = {one.name: one for one in platform.brokers}
    triggers = [one for one in platform.triggers if one.subscriber.name in services]
    for one in triggers:
        yield from sam_events.trigger(
            one, brokers[one.broker], _seconds(services[str(one.subscriber.name)], http=False)
        )
    if triggers:
        yield LETTERS, sam_events.queue("dead-letters", _EVENT_SECONDS, LOST, 10)
        yield LOST, sam_events.queue("lost-letters", _EVENT_SECONDS, None)
        yield "QueuePolicy", sam_events.policy(triggers)


def _common(environments: list[dict[str, Any]]) -> dict[str, Any]:
    """The variables that are the same everywhere."""
    first = environments[0] if environments else {}
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in environments)}


def _without(environment: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in environment.items() if name not in common}


def _globals(common: Mapping[str, Any]) -> dict[str, Any]:
    vpc = {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}}
    return {
        "Runtime": "python3.13",
        "Handler": HANDLER,
        "CodeUri": CODE,
        "Architectures": [{"Ref": "Architecture"}],
        "LoggingConfig": {"LogFormat": "Text"},
        "Environment": {"Variables": dict(common)},
        "VpcConfig": {"Fn::If": ["InVpc", vpc, {"Ref": "AWS::NoValue"}]},
    }


def _function(
    service: Service, platform: Platform, environment: Mapping[str, Any], addresses: Addresses
) -> dict[str, Any]:
    events = dict(_events(service, platform))
    http = any(one["Type"] == "HttpApi" for one in events.values()) or service.name in addresses.functions
    properties: dict[str, Any] = {
        "Description": service.name,
        "MemorySize": _memory(service),
        "Timeout": _seconds(service, http=http),
        "Environment": {"Variables": dict(environment)},
    }
    if service.annotations.get("autoscaling.knative.dev/max-scale") == "1":
        properties["ReservedConcurrentExecutions"] = 1
    if service.sink is not None and service.sink.kind == "Broker":
        name = {"Ref": f"{logical(str(service.sink.name))}Bus"}
        properties["Policies"] = [{"EventBridgePutEventsPolicy": {"EventBusName": name}}]
    if service.name in addresses.functions:
        properties["FunctionUrlConfig"] = {"AuthType": "NONE"}
    if events:
        properties["Events"] = events
    return {"Type": "AWS::Serverless::Function", "Properties": properties}


def _seconds(service: Service, *, http: bool) -> int:
    return min(service.timeout_seconds, _HTTP_SECONDS if http else _EVENT_SECONDS)


def _memory(service: Service) -> int:
    """Mebibytes; CPU goes by it."""
    text = str(service.template["spec"]["containers"][0]["resources"]["limits"]["memory"])
    found = re.fullmatch(r"(\d+)(Mi|Gi)", text)
    if found is None:
        raise NotRenderable(f"Service {service.name}: a memory limit in Mi or Gi is needed, not {text}")
    return max(128, int(found[1]) * _UNITS[found[2]])


def _events(service: Service, platform: Platform) -> Iterator[tuple[str, dict[str, Any]]]:
    matches = [match for route in platform.routes if route.service[1] == service.name for match in route.matches]
    exact = {(one.method, one.value) for route in platform.routes for one in route.matches if one.kind == "Exact"}
    for number, (method, path) in enumerate(dict.fromkeys(key for one in matches for key in keys(one, exact))):
        properties = {"ApiId": {"Ref": "Api"}, "Method": method, "Path": path, "PayloadFormatVersion": "2.0"}
        yield f"Route{number}", {"Type": "HttpApi", "Properties": properties}
    for one in platform.triggers:
        if one.subscriber.name == service.name:
            yield logical(one.name), sam_events.reads(f"{logical(one.name)}Queue", service)
    if platform.triggers and any(_letter_sink(one.body) == service.name for one in platform.brokers):
        yield LETTERS, sam_events.reads(LETTERS, service)
    for source in platform.ping_sources:
        if source.sink.name == service.name:
            yield logical(source.name), sam_events.schedule(source)


def keys(match: RouteMatch, exact: Iterable[tuple[str | None, str]]) -> Iterator[tuple[str, str]]:
    """A match as routes of an HTTP API, whose paths do not end with a slash.

    `/orders/` is what is under `/orders` with nothing there, which only a greedy variable takes; a prefix has
    `/orders/{id}` and what is under that, so that the two are never the same.
    """
    method, path = match.method or "ANY", match.value.rstrip("/")
    if match.kind == "Exact":
        yield method, f"{path}/{{proxy+}}" if match.value.endswith("/") else path
        return
    if (match.method, path) not in exact and path:
        yield method, path
    yield from ((method, f"{path}/{{id}}"), (method, f"{path}/{{id}}/{{proxy+}}"))


def _optional(service: Service) -> Iterator[str]:
    for variable in service.container.variables:
        if isinstance(variable, Variable) and variable.optional and variable.secret is not None:
            yield variable.secret[0]


def _yes_or_no(secret: str) -> dict[str, Any]:
    return {
        "Type": "String",
        "Default": "false",
        "AllowedValues": ["true", "false"],
        "Description": f"Whether there is a secret {secret}.",
    }
