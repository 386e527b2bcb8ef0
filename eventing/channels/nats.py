"""The channel on NATS JetStream: one stream a Broker, one durable pull consumer a Trigger.

Events are stored in the NATS protocol binding's binary mode (attributes as `ce-` headers), so that data keeps its
bytes. The stream refuses new events when it is full instead of dropping old ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
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

from eventing.channels.channel import Again, ChannelFull, ChannelUnavailable, Delivery, Features, Take
from eventing.channels.lanes import Lanes, NotTaken
from eventing.channels.nats_wire import HEADER, Reply, WireClient, event_of, reply_of
from eventing.channels.settings import Settings
from eventing.channels.taking import answer
from eventing.event import Event, encoded

_log = logging.getLogger(__name__)
_DEDUP_SECONDS = 120.0
_PUBLISH_TIMEOUT_SECONDS = 3.0
# Events that wait for their next attempt count here too, and must not keep others from being delivered.
_ACK_PENDING_MAX = 50_000
_PULL_EXPIRES_SECONDS = 30.0
# The clocks of two processes need not agree to the millisecond.
_EARLY_SECONDS = 0.05
# JetStream's error codes for "no room": account, server and stream limits (server/errors.json).
_FULL = frozenset({10002, 10023, 10028, 10047, 10054, 10077})


class NatsChannels:
    """One connection to a nats-server; a channel for each Broker."""

    def __init__(self, client: Client, settings: Settings, subscriptions: list[_PullSubscription]) -> None:
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
        subscriptions: list[_PullSubscription] = []

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
        subscriptions: list[_PullSubscription],
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
    ) -> _PullSubscription:
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
            max_ack_pending=_ACK_PENDING_MAX,
            filter_subject=f"{self._prefix}.{'>' if event_type is None else _subject(event_type)}",
        )
        with _unavailable():
            info = await self._jetstream.add_consumer(self._stream, config)
            subscription = _PullSubscription(
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


class _Attempts:
    """How often events were tried, and when they are due: the server forgets the last moments when it is killed.

    JetStream writes a consumer's state a little later than it answers, also with `sync_interval: always`.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def number(self, reply: Reply) -> int:
        """The number of this delivery."""
        known, _ = self._known.get(reply.place, (0, 0.0))
        return max(reply.delivered, known + 1)

    def early(self, reply: Reply) -> float:
        """By how many seconds it has come too early."""
        _, due = self._known.get(reply.place, (0, 0.0))
        return max(0.0, due - time.monotonic())

    def note(self, reply: Reply, number: int, wait_seconds: float) -> None:
        """Remember a delivery, of as many events as may be under way."""
        self._known[reply.place] = number, time.monotonic() + wait_seconds
        self._known.move_to_end(reply.place)
        if len(self._known) > _ACK_PENDING_MAX:
            self._known.popitem(last=False)


class _PullSubscription:
    """Asks JetStream for as many events as may be under way, and hands each to `take`.

    A request stays open on the server until events come, so that one that is published is here at once.
    """

    def __init__(self, client: Client, consumer: str, take: Take, in_hand_max: int, ack_wait_seconds: float) -> None:
        self._client = client
        self._request_subject = f"$JS.API.CONSUMER.MSG.NEXT.{consumer}"
        self._take = take
        self._in_hand_max = in_hand_max
        self._ack_wait_seconds = ack_wait_seconds
        self._inbox = client.new_inbox()
        self._subscription: NatsSubscription | None = None
        # Events asked for that have not come, and when the last request runs out.
        self._open = 0
        self._expires = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempts = _Attempts()
        self._wake = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None

    async def open(self, wait_seconds: float) -> None:
        self._subscription = await self._client.subscribe(self._inbox, cb=self._arrived)
        self._asking = asyncio.create_task(self._ask(wait_seconds))

    def renew(self) -> None:
        """The server forgot what was asked for (it was restarted): ask again."""
        self._open = 0
        self._wake.set()

    async def close(self) -> None:
        """Ask for no more, finish what is under way."""
        if self._asking is not None:
            self._asking.cancel()
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
        if isinstance(self._take, Lanes):
            self._take.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, wait_seconds: float) -> None:
        await asyncio.sleep(wait_seconds)
        while True:
            now = time.monotonic()
            if now > self._expires + 1:
                self._open = 0
            free = self._in_hand_max - len(self._tasks) - self._open
            # A request for more is sent when few are left open of the last ones.
            if free > 0 and self._open < max(1, self._in_hand_max // 2):
                request = {"batch": free, "expires": int(_PULL_EXPIRES_SECONDS * 1e9)}
                with contextlib.suppress(nats.errors.Error, OSError):
                    await self._client.publish(self._request_subject, json.dumps(request).encode(), reply=self._inbox)
                    self._open += free
                    self._expires = now + _PULL_EXPIRES_SECONDS
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.1, self._expires + 1 - now))

    async def _arrived(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        if status is not None:
            # 408: the request ran out; 409: it was ended. What was left of it is in a header.
            left = (message.headers or {}).get("Nats-Pending-Messages", "")
            self._open = max(0, self._open - int(left)) if left.isdigit() else 0
        else:
            self._open = max(0, self._open - 1)
            task = asyncio.create_task(self._handle(message))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        self._wake.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # It was not acknowledged, and so comes again.
            _log.error("delivery_failed", exc_info=error)

    async def _handle(self, message: Msg) -> None:
        event = event_of(message)
        if event is None:
            await message.term()
            return
        reply = reply_of(message)
        if (early := self._attempts.early(reply)) > _EARLY_SECONDS:
            await message.nak(delay=early)
            return
        attempt = self._attempts.number(reply)
        self._attempts.note(reply, attempt, 0.0)
        working = _KeepAlive(message, self._ack_wait_seconds / 2.5)
        try:
            answered = await answer(self._take, Delivery(event, attempt))
        except NotTaken:
            answered = Again(0.0)
        finally:
            working.stop()
        if isinstance(answered, Again):
            self._attempts.note(reply, attempt, answered.seconds)
            # A delay of nothing is left out: to the server it would mean its own ack_wait.
            await message.nak(delay=answered.seconds or None)
        else:
            await message.ack()


class _KeepAlive:
    """Tells the server from time to time that an event is in hand; most are done before the first time."""

    def __init__(self, message: Msg, seconds: float) -> None:
        self._message = message
        self._seconds = seconds
        self._saying: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._saying = asyncio.create_task(self._say())

    async def _say(self) -> None:
        while True:
            with contextlib.suppress(nats.errors.Error):
                await self._message.in_progress()
            await asyncio.sleep(self._seconds)

    def stop(self) -> None:
        """It is in hand no more."""
        self._timer.cancel()
        if self._saying is not None:
            self._saying.cancel()


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
