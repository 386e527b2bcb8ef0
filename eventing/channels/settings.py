"""What a channel is told beyond its URL: how many copies to keep, how much, how long, and how many at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Settings:
    """Read from CHANNEL_… variables; what a stream or queue was made with stays until an operator changes it there."""

    # Servers that keep a copy of each event: 3 in a cluster of three. A single server has one.
    replicas: int = 1
    # Room for a Broker's events (NATS) or for what waits for one Trigger (RabbitMQ), in bytes; 0 is no limit of ours.
    max_bytes: int = 0
    # How long an event waits for a Trigger that does not take it.
    keep_seconds: int = 7 * 24 * 3600
    # Deliveries of one Trigger under way at once, in each copy of the Broker.
    concurrency: int = 64
    # How long a killed copy's deliveries wait before another copy has them; a living one says in time that it works on
    # them (NATS; RabbitMQ notices when a connection ends).
    ack_wait_seconds: int = 5
    # How long a new queue of RabbitMQ gets no events: one whose server is killed within three seconds of its making may
    # never answer again, because Erlang's dets, which holds its registration, writes late (seen with 3.10).
    settle_seconds: int = 4
    # Events of an ordered Trigger that wait behind another of their subject, in each copy of the Broker.
    parked: int = 1000

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of CHANNEL_REPLICAS, CHANNEL_MAX_BYTES, CHANNEL_KEEP_SECONDS, CHANNEL_CONCURRENCY, and so on.

        Raises:
            ValueError: one of them is no whole number, or too small; the message is a sentence.
        """
        values: dict[str, int] = {}
        for one in fields(cls):
            name = f"CHANNEL_{one.name.upper()}"
            if text := environ.get(name, ""):
                smallest = 0 if one.name in {"max_bytes", "parked", "settle_seconds"} else 1
                if not text.isdigit() or int(text) < smallest:
                    raise ValueError(f"{name} is a whole number, {smallest} or more, not {text!r}")
                values[one.name] = int(text)
        return cls(**values)
