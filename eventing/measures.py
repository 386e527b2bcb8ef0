"""What a Broker shows to Prometheus: what happened to events, and what waits for each Trigger when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from eventing.channels.channel import Backlog, ChannelUnavailable
from eventing.dispatcher import Dispatcher
from eventing.exposition import Sample, family

# A scrape is not held up by a channel that hangs: Prometheus gives up after ten seconds, and then knows nothing at all.
_PATIENCE_SECONDS = 4.0
Waiting: TypeAlias = "Mapping[tuple[str, str], Backlog]"


async def waiting(dispatchers: Iterable[Dispatcher]) -> Waiting:
    """The backlog of each Trigger whose channel answers."""
    asked = list(dispatchers)
    found = await asyncio.gather(*map(_backlog, asked))
    return {
        (one.trigger.broker, one.trigger.name): backlog
        for one, backlog in zip(asked, found, strict=True)
        if backlog is not None
    }


async def _backlog(dispatcher: Dispatcher) -> Backlog | None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await dispatcher.backlog()
    except (ChannelUnavailable, TimeoutError):
        return None


def lines(
    happened: Mapping[tuple[str, str, str], int],
    unstored: Mapping[tuple[str, str], int],
    brokers: Iterable[str],
    triggers: Iterable[tuple[str, str]],
    backlogs: Waiting,
) -> Iterator[str]:
    """All of it, as text; what has not happened yet is 0, or its first time would be no increase. Pure."""
    served, named = sorted(brokers), sorted(triggers)
    yield from family(
        "wake_broker_accepted_total",
        "counter",
        "Events that a Broker has stored.",
        ((_of(broker), happened.get(("accepted", broker, ""), 0)) for broker in served),
    )
    yield from family(
        "wake_broker_unstored_total",
        "counter",
        "Events that a Broker could not store: its channel was full, or away.",
        ((_of(broker, why=why), unstored.get((broker, why), 0)) for broker in served for why in ("away", "full")),
    )
    yield from family(
        "wake_trigger_events_total",
        "counter",
        "What became of a Trigger's attempts: delivered, failed, dead-lettered, dropped.",
        (
            (_of(broker, trigger=name, what=what), happened.get((what, broker, name), 0))
            for broker, name in named
            for what in ("delivered", "failed", "dead-lettered", "dropped")
        ),
    )
    yield from family(
        "wake_channel_up",
        "gauge",
        "Whether the channel told what waits for a Trigger.",
        ((_of(broker, trigger=name), (broker, name) in backlogs) for broker, name in named),
    )
    yield from family(
        "wake_trigger_waiting_events",
        "gauge",
        "Events that are not settled for a Trigger.",
        (_sample(key, backlog.waiting) for key, backlog in sorted(backlogs.items())),
    )
    yield from family(
        "wake_trigger_oldest_event_seconds",
        "gauge",
        "Since when the oldest event that is not settled for a Trigger is stored (NATS only).",
        (
            _sample(key, round(backlog.oldest_seconds, 3))
            for key, backlog in sorted(backlogs.items())
            if backlog.oldest_seconds is not None
        ),
    )


def _sample(key: tuple[str, str], value: float) -> Sample:
    return _of(key[0], trigger=key[1]), value


def _of(broker: str, **labels: str) -> dict[str, str]:
    return {"broker": broker, **labels}
