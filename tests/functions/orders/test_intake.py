"""What a stream of orders is read ahead by, and how it is cut into batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from functions.orders.intake import BATCH_MAX, UNDER_WAY_MAX, Intake, Publishing
from functions.orders.streams import End
from protos.orders.v1.orders_pb2 import PlaceOrdersRequest


class Sent:
    """What a client has sent: a stream that counts how much of it was read."""

    def __init__(self, keys: Sequence[str], error: Exception | None = None) -> None:
        self._left = [PlaceOrdersRequest(key=key) for key in keys]
        self._error = error
        self.read = 0

    async def recv_message(self) -> PlaceOrdersRequest | None:
        """The next one; None, or the error, behind the last."""
        if not self._left:
            if self._error is not None:
                raise self._error
            return None
        self.read += 1
        return self._left.pop(0)


@pytest.fixture
async def end() -> AsyncIterator[End]:
    """Of a stream that need not end."""

    async def never() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(never())
    yield task
    task.cancel()


async def turns() -> None:
    """Let everybody else go as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_is_read_than_may_be_under_way(end: End) -> None:
    """Until something is acknowledged, however much was sent and however many batches were taken."""
    sent = Sent([str(number) for number in range(1000)])
    async with Intake(sent, end) as intake:
        await turns()
        first, second = await intake.batch(), await intake.batch()
        await turns()
        read = sent.read
        intake.acknowledged(len(first))
        await turns()

    assert (len(first), len(second), read) == (BATCH_MAX, BATCH_MAX, UNDER_WAY_MAX)
    assert sent.read == UNDER_WAY_MAX + BATCH_MAX


@pytest.mark.parametrize(
    ("keys", "batches"),
    [("abc", ["abc"]), ("aba", ["ab", "a"]), ("aab", ["a", "ab"]), ("", [])],
)
async def test_a_repeated_key_begins_a_batch(keys: str, batches: list[str], end: End) -> None:
    """What it is told depends on what became of the first."""
    taken = []
    async with Intake(Sent(keys), end) as intake:
        await turns()
        while batch := await intake.batch():
            taken.append("".join(request.key for request in batch))

    assert taken == batches


async def test_what_was_read_before_the_end_is_still_placed(end: End) -> None:
    """Then it is over, though the client has more."""
    sent = Sent([str(number) for number in range(1000)])
    async with Intake(sent, end) as intake:
        await turns()
        end.cancel()
        await turns()
        count = 0
        while batch := await intake.batch():
            count += len(batch)
            intake.acknowledged(len(batch))

    assert count == UNDER_WAY_MAX


async def test_a_stream_that_breaks_is_not_one_that_ends(end: End) -> None:
    """What was read is placed, then the error is told."""
    async with Intake(Sent("ab", ConnectionResetError()), end) as intake:
        await turns()
        assert len(await intake.batch()) == 2
        with pytest.raises(ConnectionResetError):
            await intake.batch()


async def test_publishing_is_one_batch_behind_and_in_order() -> None:
    """A third batch is waited for until the first is published; and all are at the end."""
    done: list[int] = []
    gates = [asyncio.Event() for _ in range(3)]
    begun = iter(range(3))

    async def publish() -> None:
        number = next(begun)
        await gates[number].wait()
        done.append(number)

    async with Publishing(publish) as publishing:
        publishing.committed()
        await asyncio.wait_for(publishing.wait_until_close(), 1)
        publishing.committed()
        waiting = asyncio.create_task(publishing.wait_until_close())
        gates[1].set()
        await turns()
        assert not waiting.done()
        gates[0].set()
        await asyncio.wait_for(waiting, 1)
        publishing.committed()
        gates[2].set()

    assert done == [0, 1, 2]
