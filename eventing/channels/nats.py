"""The channel on NATS JetStream: one stream a Broker, one durable pull consumer a Trigger.

Events are stored in the NATS protocol binding's binary mode (attributes as `ce-` headers), so that data keeps its
bytes. The stream refuses new events when it is full instead of dropping old ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from eventing.channels.channel import Backlog, ChannelFull, ChannelUnavailable, Features, Take
from eventing.channels.lanes import Lanes
from eventing.channels.nats_pull import ACK_PENDING_MAX, PullSubscription
from eventing.channels.nats_wire import HEADER, WireClient
from eventing.channels.settings import Settings
from eventing.event import Event, encoded

_log = logging.getLogger(__name__)
_DEDUP_SECONDS = 120.0
_PUBLISH_TIMEOUT_SECONDS = 3.0
# JetStream's error codes for "no room": account, server and stream limits (server/errors.json).
_FULL = frozenset({10002, 10023, 10028, 10047, 10054, 10077})


class NatsChannels:
    """One connection to a nats-server; a channel for each Broker."""

    def __init__(self, client: Client, settings: Settings, subscriptions: list[PullSubscription]) -> None:
        self._client = client
        self._settings = settings
        self._subscriptions = subscriptions

    @property
    def features(self) -> Features:
        """What JetStream promises."""
        return Features(
            name="NATS JetStream",
            survives_restart=True,
            survives_power_cut="only with `sync_interval: always`, as the embedded server has it",
            dedup_seconds=_DEDUP_SECONDS,
            dedup_by="the stream",
            again="before what is new, as long as no more than 50,000 events of a Trigger wait for their next attempt",
            take_seconds_max=float("inf"),
            order="within one copy of the Broker; what a killed copy had in hand comes first",
            kept_seconds=self._settings.keep_seconds,
        )

    @classmethod
    async def connect(cls, url: str, settings: Settings | None = None) -> NatsChannels:
        """Connect, and keep connecting for ever when the server goes away later.

        Raises:
            ChannelUnavailable: the server cannot be reached now.
        """
        subscriptions: list[PullSubscription] = []

        async def reconnected() -> None:
            for subscription in subscriptions:
                subscription.renew()

        first_error: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        async def quiet(error: Exception) -> None:
            _log.info("nats_error", extra={"reason": str(error) or type(error).__name__})
            if not first_error.done():
                first_error.set_result(error)

        client = WireClient()
        # The library would try for ever at first too, without a word.
        connecting = asyncio.create_task(
            client.connect(
                url,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.1,  # type: ignore[arg-type]
                connect_timeout=2,
                allow_reconnect=True,
                error_cb=quiet,
                reconnected_cb=reconnected,
            )
        )
        either: set[asyncio.Future[Any]] = {connecting, first_error}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done() or connecting.exception() is not None:
            connecting.cancel()
            error = first_error.result() if first_error.done() else connecting.exception()
            await client.close()
            raise ChannelUnavailable(f"nats-server: {error or type(error).__name__}") from error
        return cls(client, settings or Settings(), subscriptions)

    async def channel(self, namespace: str, broker: str) -> NatsChannel:
        """The Broker's stream, created where it does not exist.

        Raises:
            ChannelUnavailable: JetStream does not answer.
        """
        kind, _, name = broker.rpartition("/")
        stream = f"KN_{'CHANNEL' if kind else 'BROKER'}_{_upper(namespace)}__{_upper(name)}"
        prefix = f"{namespace}.{broker}._knative_broker"
        jetstream = self._client.jetstream(timeout=_PUBLISH_TIMEOUT_SECONDS)
        config = StreamConfig(
            name=stream,
            subjects=[f"{prefix}.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_age=self._settings.keep_seconds,
            max_bytes=self._settings.max_bytes or -1,
            num_replicas=self._settings.replicas,
            duplicate_window=_DEDUP_SECONDS,
        )
        with _unavailable():
            try:
                await jetstream.stream_info(stream)
            except nats.js.errors.NotFoundError:
                await jetstream.add_stream(config)
        return NatsChannel(self._client, jetstream, stream, prefix, self._settings, self._subscriptions)

    async def close(self) -> None:
        """Close the connection, after what was published went out."""
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await self._client.drain()


class NatsChannel:
    """One Broker's stream."""

    def __init__(
        self,
        client: Client,
        jetstream: JetStreamContext,
        stream: str,
        prefix: str,
        settings: Settings,
        subscriptions: list[PullSubscription],
    ) -> None:
        self._client = client
        self._jetstream = jetstream
        self._stream = stream
        self._prefix = prefix
        self._settings = settings
        self._subscriptions = subscriptions

    async def publish(self, event: Event) -> None:
        """Store an event; returns when JetStream acknowledged it, which with `sync_interval: always` is on disk.

        Raises:
            ChannelUnavailable: it did not; ChannelFull where the stream has no room.
        """
        headers = {f"{HEADER}{name}": encoded(value) for name, value in event.attributes.items()}
        # Of source and id: two sources may use the same ids.
        headers["Nats-Msg-Id"] = hashlib.sha256(f"{event.source}\0{event.id}".encode()).hexdigest()
        with _unavailable():
            await self._jetstream.publish(
                f"{self._prefix}.{_subject(event.type)}", event.data, stream=self._stream, headers=headers
            )

    async def subscribe(
        self, name: str, event_type: str | None, take: Take, *, ordered: bool = False
    ) -> PullSubscription:
        """Deliver from now on, or from where the consumer of this name was left; its filter may change.

        Raises:
            ChannelUnavailable: JetStream does not answer.
        """
        durable = f"KN_TRIGGER_{_upper(name)}"
        config = ConsumerConfig(
            durable_name=durable,
            deliver_policy=DeliverPolicy.NEW,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._settings.ack_wait_seconds,
            max_deliver=-1,
            max_ack_pending=ACK_PENDING_MAX,
            filter_subject=f"{self._prefix}.{'>' if event_type is None else _subject(event_type)}",
        )
        with _unavailable():
            info = await self._jetstream.add_consumer(self._stream, config)
            subscription = PullSubscription(
                self._client,
                f"{self._stream}.{durable}",
                Lanes(take, self._settings.concurrency) if ordered else take,
                self._settings.concurrency + self._settings.parked * ordered,
                self._settings.ack_wait_seconds,
            )
            # What another process had in hand when it was killed comes before what is new, once its time is up.
            await subscription.open(self._settings.ack_wait_seconds if ordered and info.num_ack_pending else 0.0)
        self._subscriptions.append(subscription)
        return subscription

    async def forget(self, name: str) -> None:
        """Delete the consumer.

        Raises:
            ChannelUnavailable: JetStream does not answer.
        """
        with _unavailable(), contextlib.suppress(nats.js.errors.NotFoundError):
            await self._jetstream.delete_consumer(self._stream, f"KN_TRIGGER_{_upper(name)}")

    async def backlog(self, name: str) -> Backlog:
        """What the consumer has not acknowledged: not delivered yet, in hand, or waiting for its next attempt.

        Raises:
            ChannelUnavailable: JetStream does not answer, or knows no such consumer.
        """
        with _unavailable():
            info = await self._jetstream.consumer_info(self._stream, f"KN_TRIGGER_{_upper(name)}")
            waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
            if not waiting or info.ack_floor is None:
                return Backlog(0, 0.0)
            try:
                oldest = await self._jetstream.get_msg(
                    self._stream, info.ack_floor.stream_seq + 1, info.config.filter_subject, next=True
                )
            except nats.js.errors.NotFoundError:
                # It was too old, and has gone since the consumer was asked.
                return Backlog(waiting, 0.0)
        stored = oldest.time or datetime.now(UTC)
        return Backlog(waiting, max(0.0, (datetime.now(UTC) - stored).total_seconds()))


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """Turn every way in which JetStream can fail to answer into one exception."""
    try:
        yield
    except nats.js.errors.APIError as error:
        kind = ChannelFull if error.err_code in _FULL else ChannelUnavailable
        raise kind(f"nats-server: {error.description or error}") from error
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
        raise ChannelUnavailable(f"nats-server: {error or type(error).__name__}") from error


def _upper(name: str) -> str:
    """A name as JetStream takes it for streams and consumers (Knative's own rule for them)."""
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _subject(event_type: str) -> str:
    """An event type as subject tokens: what no token may hold is replaced; the filter looks at the type itself."""
    return ".".join(re.sub(r"[^A-Za-z0-9_-]", "_", token) or "_" for token in event_type.split("."))
