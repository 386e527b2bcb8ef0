"""How events reach functions on Lambda: a Trigger is an EventBridge rule and a queue, a PingSource a schedule. Pure.

Rules put the event itself (the envelope's `detail`) into the queue; what is not handled often enough goes to the queue
of dead letters, which the Broker's dead letter sink reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from eventing import ping
from knative.runtime.kubernetes import NotRenderable
from knative.runtime.resources import Broker, PingSource, Service, Trigger
from knative.runtime.sam_settings import logical

LETTERS = "DeadLetters"
LOST = "LostLetters"
_KEPT_SECONDS = 14 * 24 * 3600
_BATCH = 10
# Of one function's environments; Lambda's least.
_CONCURRENCY_LEAST = 2
_WEEK = {"0": "SUN", "1": "MON", "2": "TUE", "3": "WED", "4": "THU", "5": "FRI", "6": "SAT", "7": "SUN"}


def bus(broker: Broker) -> tuple[str, dict[str, Any]]:
    """A Broker."""
    name = {"Fn::Sub": f"${{AWS::StackName}}-{broker.name}"}
    return f"{logical(broker.name)}Bus", {"Type": "AWS::Events::EventBus", "Properties": {"Name": name}}


def pattern(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A Trigger's filter as an event pattern over the event's attributes.

    Raises:
        NotRenderable: EventBridge cannot say it.
    """
    if spec.get("filters"):
        found = _every(spec["filters"], name)
    else:
        attributes = (spec.get("filter") or {}).get("attributes") or {}
        found = {one: [value] if value else [{"exists": True}] for one, value in attributes.items()}
    return {"detail": {"specversion": ["1.0"], **found}}


def _every(filters: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in filters:
        said = _dialect(one, name)
        if found.keys() & said.keys():
            raise NotRenderable(f"Trigger {name}: EventBridge cannot ask two things of one attribute")
        found |= said
    return found


def _dialect(element: Mapping[str, Any], name: str) -> dict[str, Any]:
    ((dialect, operand),) = element.items()
    if dialect == "exact":
        return {attribute: [value] for attribute, value in operand.items()}
    if dialect in {"prefix", "suffix"}:
        return {attribute: [{dialect: value}] for attribute, value in operand.items()}
    if dialect == "all":
        return _every(operand, name)
    if dialect == "any":
        return {"$or": [_dialect(one, name) for one in operand]}
    raise NotRenderable(f"Trigger {name}: EventBridge has no equivalent of the filter dialect {dialect}")


def trigger(one: Trigger, broker: Broker, timeout_seconds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Its rule and its queue."""
    delivery = one.body["spec"].get("delivery") or (broker.body.get("spec") or {}).get("delivery") or {}
    yield (
        f"{logical(one.name)}Queue",
        queue(one.name, timeout_seconds, LETTERS, int(delivery.get("retry", 0)) + 1),
    )
    target = {
        "Id": "queue",
        "Arn": {"Fn::GetAtt": [f"{logical(one.name)}Queue", "Arn"]},
        "InputPath": "$.detail",
    }
    yield (
        f"{logical(one.name)}Rule",
        {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventBusName": {"Ref": f"{logical(one.broker)}Bus"},
                "EventPattern": pattern(one.body["spec"], one.name),
                "Targets": [target],
            },
        },
    )


def queue(name: str, timeout_seconds: int, dead_letters: str | None, attempts: int = 1) -> dict[str, Any]:
    """A queue whose messages are out of sight for as long as a function may take for them."""
    properties: dict[str, Any] = {
        "QueueName": {"Fn::Sub": f"${{AWS::StackName}}-{name}"},
        "MessageRetentionPeriod": _KEPT_SECONDS,
        "SqsManagedSseEnabled": True,
        "VisibilityTimeout": timeout_seconds,
    }
    if dead_letters is not None:
        arn = {"Fn::GetAtt": [dead_letters, "Arn"]}
        properties["RedrivePolicy"] = {"deadLetterTargetArn": arn, "maxReceiveCount": attempts}
    return {"Type": "AWS::SQS::Queue", "Properties": properties}


def policy(triggers: list[Trigger]) -> dict[str, Any]:
    """Each rule may put events into its own queue, and nobody else into any."""
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": {"Fn::GetAtt": [f"{logical(one.name)}Queue", "Arn"]},
            "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [f"{logical(one.name)}Rule", "Arn"]}}},
        }
        for one in triggers
    ]
    queues = [{"Ref": f"{logical(one.name)}Queue"} for one in triggers]
    return {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {"Queues": queues, "PolicyDocument": {"Version": "2012-10-17", "Statement": statements}},
    }


def reads(queue_name: str, service: Service) -> dict[str, Any]:
    """A function's event source."""
    most = int(service.annotations.get("autoscaling.knative.dev/max-scale", "0"))
    scaling = {"ScalingConfig": {"MaximumConcurrency": max(_CONCURRENCY_LEAST, most)}} if most else {}
    return {
        "Type": "SQS",
        "Properties": {
            "Queue": {"Fn::GetAtt": [queue_name, "Arn"]},
            "BatchSize": _BATCH,
            # Of a batch only what failed comes again.
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            **scaling,
        },
    }


def schedule(source: PingSource) -> dict[str, Any]:
    """A PingSource as EventBridge Scheduler has it: it invokes the function with the event itself."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "<aws.scheduler.execution-id>",
        "source": ping.source(source.namespace, source.name),
        "type": ping.TYPE,
        "time": "<aws.scheduler.scheduled-time>",
        "datacontenttype": source.content_type,
        **source.ce_overrides,
        "data": json.loads(source.data) if source.content_type == "application/json" else source.data.decode(),
    }
    return {
        "Type": "ScheduleV2",
        "Properties": {
            "ScheduleExpression": f"cron({cron(source.schedule, source.name)})",
            "ScheduleExpressionTimezone": source.timezone or "UTC",
            "Input": json.dumps(event),
            # A tick that was missed is not made up for.
            "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60},
        },
    }


def cron(schedule: str, name: str) -> str:
    """Cron's five fields as EventBridge's six; one of its days has to be `?`.

    Raises:
        NotRenderable: it has seconds, or names days of the month and of the week, of which either would do.
    """
    fields = schedule.split()
    if len(fields) != 5:
        raise NotRenderable(f"PingSource {name}: EventBridge knows no seconds, write five fields")
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise NotRenderable(f"PingSource {name}: EventBridge takes a day of the month or of the week, not either")
    if weekday == "*":
        weekday = "?"
    else:
        day, weekday = "?", "".join(_WEEK.get(part, part) for part in _parts(weekday))
    return f"{minute} {hour} {day} {month} {weekday} *"


def _parts(field: str) -> list[str]:
    """A list or range of days, with what is between them; a step counts, and is no day."""
    if "/" in field:
        raise NotRenderable(f"EventBridge counts days otherwise: name the days of {field!r}")
    return [part for one in field.split(",") for part in (",", *"-".join(one.split("-")))][1:]
