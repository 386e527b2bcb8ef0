"""What stands on a RabbitMQ server for a Broker: names and arguments. Pure.

- An exchange a Broker (topic, by event type) and a quorum queue a Trigger, named as Knative's RabbitMQ Broker names
  its own.
- `EXCHANGE.waiting`, one a Broker: events that are to come again. A Broker's process holds them until their time and
  then puts them back into their Trigger's queue. Time to live and dead-lettering would do the same without us, but
  at most once they may lose an event, at least once they get stuck (rabbitmq-server issues 12625 and 16652), and they
  need a queue for each delay, made on demand (see Settings.settle_seconds).
- `QUEUE.parked` beside each Trigger's queue: what ended its consumer's process a hundred times, or waited longer than
  events are kept. Nobody takes it from there but a person.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from eventing.channels.settings import Settings

# How long one delivery may be in hand (RabbitMQ 3.12 and newer; before, `consumer_timeout` of the server, 30 min).
CONSUMER_SECONDS_MAX = 3 * 3600
_DELIVERIES_UNANSWERED_MAX = 100
# Waiting is no attempt: every restart of a Broker counts there, and RabbitMQ 4 knows no "unlimited" that 3.10 knows.
_UNLIMITED = 1_000_000_000
_PARKED_TIMES_LONGER = 4
_ROUTING_KEY_BYTES_MAX = 255

Arguments = Mapping[str, Any]


def exchange(namespace: str, broker: str) -> str:
    """A Broker's exchange; a Channel's name comes as `channels/NAME`."""
    kind, _, name = broker.rpartition("/")
    return f"{'c' if kind else 'b'}.{namespace}.{name}"


def queue(key: str) -> str:
    """The queue of a Trigger or Subscription, by its key."""
    namespace, _, rest = key.partition("/")
    kind, _, name = rest.rpartition("/")
    return f"{'s' if kind else 't'}.{namespace}.{name}"


def routing_key(event_type: str) -> str:
    """An event type as a topic: what the server would read as a wildcard, or not take, is replaced.

    Two types may share one; whoever takes the event looks at the type itself.
    """
    words = ".".join(re.sub(r"[^!-~]|[#*]", "_", word) or "_" for word in event_type.split("."))
    return words if len(words) <= _ROUTING_KEY_BYTES_MAX else hashlib.sha256(event_type.encode()).hexdigest()


def parked(queue_name: str) -> str:
    """Where a queue's events go that nobody could take."""
    return f"{queue_name}.parked"


def waiting(exchange_name: str) -> str:
    """Where a Broker's events wait for their next attempt."""
    return f"{exchange_name}.waiting"


def trigger_arguments(queue_name: str, settings: Settings) -> Arguments:
    """A Trigger's queue.

    It has no `x-expires`: a quorum queue may expire though it is in use (rabbitmq-server issue 5894).
    """
    return {
        **_quorum(settings),
        **({"x-max-length-bytes": settings.max_bytes} if settings.max_bytes else {}),
        "x-message-ttl": settings.keep_seconds * 1000,
        "x-consumer-timeout": CONSUMER_SECONDS_MAX * 1000,
        # Said explicitly: unlimited before RabbitMQ 4.0, 20 since, and then the event is gone.
        "x-delivery-limit": _DELIVERIES_UNANSWERED_MAX,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": parked(queue_name),
        # The message stays until the other queue has it.
        "x-dead-letter-strategy": "at-least-once",
    }


def parked_arguments(settings: Settings) -> Arguments:
    """The queue beside it."""
    return {**_quorum(settings), "x-message-ttl": settings.keep_seconds * 1000 * _PARKED_TIMES_LONGER}


def waiting_arguments(settings: Settings) -> Arguments:
    """A Broker's queue of events that are to come again."""
    return {**_quorum(settings), "x-delivery-limit": _UNLIMITED}


def _quorum(settings: Settings) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-quorum-initial-group-size": settings.replicas,
        "x-overflow": "reject-publish",
    }
