"""Ten thousand orders on one stream, while the function is killed twice: ten thousand orders, none twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress

import asyncpg
import pytest
from grpclib.client import Channel
from grpclib.exceptions import GRPCError, StreamTerminatedError

from protos.orders.v1 import orders_pb2 as v1
from protos.orders.v1.orders_grpc import OrdersServiceStub
from tests.functions.conftest import KEY, Users, bearer
from tests.functions.processes import Function

COUNT = 10_000
KILLS = [2_500, 6_000]


@pytest.fixture
async def function(database_url: Callable[[str], str], buyers: Users) -> AsyncIterator[Function]:
    """orders-rpc as a process, on a database of this test's own."""
    keys = json.dumps({"keys": [KEY.as_dict(private=False)]})
    made = Function("orders-rpc", DATABASE_URL=database_url("orders"), TOKEN_KEYS=keys, USERS_RPC_URL=buyers.rpc.url)
    made.start()
    yield made
    made.close()


class Client:
    """Places orders until each is acknowledged, on as many streams as that takes."""

    def __init__(self, port: int, count: int) -> None:
        price = v1.Money(amount="1.00", currency="EUR")
        self.waiting = {
            key: v1.PlaceOrdersRequest(key=key, price=price, payment_token="tok_approve")
            for key in map("order-{:05}".format, range(count))
        }
        self.placed: dict[str, str] = {}
        self.replayed = self.streams = 0
        self._port = port

    async def place(self, acknowledged: Callable[[int], None]) -> None:
        """Place what is not acknowledged yet; *acknowledged* is told how many are, and may do harm."""
        while self.waiting:
            self.streams += 1
            async with Channel("127.0.0.1", self._port) as channel:
                with suppress(GRPCError, StreamTerminatedError, OSError):
                    await self._place_on(channel, acknowledged)

    async def _place_on(self, channel: Channel, acknowledged: Callable[[int], None]) -> None:
        async with OrdersServiceStub(channel).PlaceOrders.open(metadata=bearer("ada")) as stream:
            await stream.send_request()

            async def write(requests: Iterable[v1.PlaceOrdersRequest]) -> None:
                for request in requests:
                    await stream.send_message(request)
                await stream.end()

            writing = asyncio.create_task(write(list(self.waiting.values())))
            try:
                async for answer in stream:
                    assert answer.WhichOneof("outcome") == "order", answer
                    self.placed[answer.key] = answer.order.order_id
                    self.replayed += answer.replayed
                    del self.waiting[answer.key]
                    acknowledged(len(self.placed))
            finally:
                writing.cancel()
                with suppress(asyncio.CancelledError, StreamTerminatedError, OSError):
                    await writing


async def test_ten_thousand_orders_survive_two_kills(function: Function) -> None:
    """Every key is one order with one event, and it is the order that was acknowledged."""
    client = Client(function.port, COUNT)
    kills = list(KILLS)

    def harm(acknowledged: int) -> None:
        if kills and acknowledged >= kills[0]:
            kills.pop(0)
            function.kill()
            function.start()

    async with asyncio.timeout(60):
        await client.place(harm)
    connection = await asyncpg.connect(function.variables["DATABASE_URL"])
    orders = {str(row["id"]) for row in await connection.fetch("SELECT id FROM orders")}
    events = await connection.fetchval("SELECT count(DISTINCT attributes->>'subject') FROM outbox")
    rows = await connection.fetchval("SELECT count(*) FROM outbox")
    await connection.close()

    assert kills == []
    assert client.streams == len(KILLS) + 1
    assert set(client.placed.values()) == orders
    assert (len(client.placed), len(orders), events, rows) == (COUNT, COUNT, COUNT, COUNT)
    # What was committed and not acknowledged when it was killed.
    assert client.replayed <= 256 * len(KILLS)


async def test_told_to_stop_it_ends_its_streams_and_goes(function: Function) -> None:
    """At once, although a stream is open that its client has not ended; what was acknowledged is there."""
    with suppress(GRPCError, StreamTerminatedError, OSError):
        async with (
            Channel("127.0.0.1", function.port) as channel,
            OrdersServiceStub(channel).PlaceOrders.open(metadata=bearer("ada")) as stream,
        ):
            price = v1.Money(amount="1.00", currency="EUR")
            await stream.send_message(v1.PlaceOrdersRequest(key="k1", price=price, payment_token="tok_approve"))
            assert (await stream.recv_message()).order.order_id
            began = time.monotonic()
            assert await asyncio.to_thread(function.stop) == 0
            ended_after = time.monotonic() - began
            await stream.recv_message()

    assert ended_after < 3
