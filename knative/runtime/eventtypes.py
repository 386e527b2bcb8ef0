"""What `wake eventtypes` prints: each EventType, who emits such events and which Triggers they wake. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eventing.filters import compile_filters
from knative.runtime.resources import EventType, Platform

EMITTED_BY = "wake.dev/emitted-by"


def listed(platform: Platform) -> list[dict[str, Any]]:
    """Every EventType, by its type, as JSON has it.

    A Trigger that filters by more than type and source (a subject, an extension) is not known to want it.
    """
    return [
        {
            "type": one.type,
            "source": one.source,
            "broker": None if one.broker is None else "/".join(one.broker),
            "description": one.description,
            "emitted_by": [name.strip() for name in one.annotations.get(EMITTED_BY, "").split(",") if name.strip()],
            "triggers": list(_triggers(one, platform)),
        }
        for one in sorted(platform.event_types, key=lambda one: (one.type, one.source))
    ]


def _triggers(event_type: EventType, platform: Platform) -> Iterator[str]:
    attributes = {"specversion": "1.0", "type": event_type.type, "source": event_type.source}
    for trigger in platform.triggers:
        here = event_type.broker in {None, (trigger.namespace, trigger.broker)}
        if here and compile_filters(trigger.body["spec"])(attributes):
            yield trigger.name


def lines(platform: Platform) -> Iterator[str]:
    """The same as text."""
    for one in listed(platform):
        yield one["type"]
        yield from (f"    {text}" for text in [one["description"]] if text)
        yield f"    emitted by  {', '.join(one['emitted_by']) or one['source']}"
        yield f"    wakes       {', '.join(one['triggers']) or 'nobody'}"
