"""A subscription on NATS JetStream: asks a pull consumer for events, hands them on, says what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import OrderedDict

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from eventing.channels.channel import Again, Delivery, Take
from eventing.channels.lanes import Lanes, NotTaken
from eventing.channels.nats_wire import Reply, event_of, reply_of
from eventing.channels.taking import answer

_log = logging.getLogger(__name__)
# Events that wait for their next attempt count here too, and must not keep others from being delivered.
ACK_PENDING_MAX = 50_000
_PULL_EXPIRES_SECONDS = 30.0
# The clocks of two processes need not agree to the millisecond.
_EARLY_SECONDS = 0.05


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
        if len(self._known) > ACK_PENDING_MAX:
            self._known.popitem(last=False)


class PullSubscription:
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
