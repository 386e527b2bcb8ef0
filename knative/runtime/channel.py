"""Which server keeps the Broker's events: one that is started here (NATS or RabbitMQ), or one that runs already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from knative.runtime import nats, rabbitmq
from knative.runtime.state import State

Kind = Literal["nats", "rabbitmq"]
KINDS: tuple[Kind, ...] = ("nats", "rabbitmq")
PARTS: dict[Kind, str] = {"nats": "nats-server", "rabbitmq": "rabbitmq-server"}


@dataclass(frozen=True)
class Choice:
    """What `wake up --channel` was given; *url* names a server that runs already."""

    kind: Kind = "nats"
    url: str = ""

    @property
    def part(self) -> str | None:
        """The platform's part that keeps the events; None where somebody else runs it."""
        return None if self.url else PARTS[self.kind]


Server = nats.Nats | rabbitmq.RabbitMQ


def start(kind: Kind, state: State, port: int, before: Server | None) -> Server:
    """Start the server over what is in the state folder; *before* is the one that ended, if there was one.

    Raises:
        StartFailed: it is not installed.
    """
    if before is not None:
        # It may have left something behind that the next one starts anew.
        before.stop()
    starting = nats.start if kind == "nats" else rabbitmq.start
    return starting(state.folder / kind, port, state.log(PARTS[kind]))


def switched(kind: Kind, state: State) -> str | None:
    """A sentence where this state folder's events were kept elsewhere before; remembers the kind."""
    file = state.folder / "channel"
    before = file.read_text() if file.exists() else "nats" if (state.folder / "nats").exists() else str(kind)
    State.write(file, kind)
    if before == kind:
        return None
    return (
        f"events were kept by {before} before: what it has not delivered stays there; "
        "`wake republish --since 7d` sends what the outboxes published again, under the same ids"
    )
