"""orders-rpc: an order shown, watched, and many placed on one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest
from google.rpc import error_details_pb2 as details
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from knative.runtime import child
from protos.orders.v1 import orders_pb2 as v1
from protos.orders.v1.orders_grpc import OrdersServiceStub
from tests.functions.conftest import Serve, ServedRpc, ServeRpc, Users, bearer

ME = bearer("ada")
PRICE = v1.Money(amount="99.50", currency="EUR")
BODY = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


def asked(key: str, **changed: Any) -> v1.PlaceOrdersRequest:
    """An order of 99.50 EUR."""
    return v1.PlaceOrdersRequest(**{"key": key, "price": PRICE, "payment_token": "tok_approve", **changed})


async def placed(
    rpc: ServedRpc, requests: Sequence[v1.PlaceOrdersRequest], headers: dict[str, str] = ME
) -> list[v1.PlaceOrdersResponse]:
    """What they are acknowledged with, on one stream."""
    async with OrdersServiceStub(rpc.channel).PlaceOrders.open(metadata=headers, timeout=20) as stream:
        for request in requests:
            await stream.send_message(request)
        await stream.end()
        return [answer async for answer in stream]


async def ended_by_server(stream: Any) -> None:
    """Read to the end of a stream whose own half is still open; the status is then raised where it is left."""
    assert [answer async for answer in stream] == []
    with suppress(Exception):
        # grpclib wants our half ended before it tells the status, and cannot end it where it has been reset.
        await stream.end()


@asynccontextmanager
async def database(rpc: ServedRpc) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of somebody else's to its database."""
    connection = await asyncpg.connect(rpc.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def count(rpc: ServedRpc, table: str) -> int:
    """How many rows it has."""
    async with database(rpc) as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def move(rpc: ServedRpc, order_id: str, *statuses: str) -> None:
    """What becomes of an order, at once."""
    async with database(rpc) as connection, connection.transaction():
        for status in statuses:
            await connection.execute("UPDATE orders SET status = $2 WHERE id::text = $1", order_id, status)


async def test_an_order_is_shown_to_its_buyer_only(serve_rpc: ServeRpc) -> None:
    """As it was acknowledged; NOT_FOUND to a stranger and for what is no id."""
    rpc = await serve_rpc("orders.rpc")
    ((acknowledged),) = await placed(rpc, [asked("k1")])
    orders = OrdersServiceStub(rpc.channel)
    order_id = acknowledged.order.order_id
    shown = await orders.GetOrder(v1.GetOrderRequest(order_id=order_id), metadata=ME)

    assert shown.order == acknowledged.order
    assert (shown.order.username, shown.order.price, shown.order.status) == ("ada", PRICE, v1.ORDER_STATUS_PLACED)
    for wrong, headers in ((order_id, bearer("eve")), ("none", ME)):
        with pytest.raises(GRPCError) as refused:
            await orders.GetOrder(v1.GetOrderRequest(order_id=wrong), metadata=headers)
        assert refused.value.status is Status.NOT_FOUND


async def test_acknowledgements_come_in_the_order_of_the_orders(serve_rpc: ServeRpc) -> None:
    """One for each, also for what is wrong, which does not concern the others; each is committed with its event."""
    rpc = await serve_rpc("orders.rpc")
    requests = [
        asked("k1"),
        asked("k2", price=v1.Money(amount="0.001", currency="EUR")),
        asked("k3", payment_token=""),
        asked("", price=PRICE),
        asked("k5", username="eve"),
        asked("k6"),
    ]
    answers = await placed(rpc, requests)
    codes = [Status(answer.refusal.code) if answer.HasField("refusal") else Status.OK for answer in answers]
    wrong = details.BadRequest()
    fields = []
    for answer in answers[1:4]:
        assert answer.refusal.details[1].Unpack(wrong)
        fields.append(wrong.field_violations[0].field)

    assert [answer.key for answer in answers] == [request.key for request in requests]
    assert codes == [
        Status.OK,
        Status.INVALID_ARGUMENT,
        Status.INVALID_ARGUMENT,
        Status.INVALID_ARGUMENT,
        Status.PERMISSION_DENIED,
        Status.OK,
    ]
    assert fields == ["price", "payment_token", "key"]
    assert await count(rpc, "orders") == await count(rpc, "outbox") == 2


async def test_a_key_is_one_order_by_either_door(serve: Serve, serve_rpc: ServeRpc) -> None:
    """Placed over HTTP and asked for over gRPC, and the other way round; another order under it is refused."""
    http = await serve("orders.place")
    rpc = await serve_rpc("orders.rpc")
    by_http = await http.client.post("/orders/", json=BODY, headers={**ME, "idempotency-key": "k1"})
    answers = await placed(rpc, [asked("k1"), asked("k2"), asked("k2"), asked("k1", payment_token="tok_decline")])
    again = await http.client.post("/orders/", json=BODY, headers={**ME, "idempotency-key": "k2"})

    assert [answer.replayed for answer in answers] == [True, False, True, False]
    assert answers[0].order.order_id == by_http.json()["order_id"]
    assert answers[1].order == answers[2].order
    assert answers[3].refusal.code == Status.INVALID_ARGUMENT.value
    assert (again.json()["order_id"], again.headers["idempotency-replayed"]) == (answers[1].order.order_id, "true")
    assert await count(rpc, "orders") == 2


async def test_a_key_that_somebody_holds_does_not_hold_up_the_others(serve_rpc: ServeRpc) -> None:
    """ABORTED with a RetryInfo for that one, after two seconds; its neighbours are placed."""
    rpc = await serve_rpc("orders.rpc")
    async with database(rpc) as holder, holder.transaction():
        await holder.execute(
            "INSERT INTO idempotency (subject, operation, key, fingerprint) VALUES ('ada', 'orders-place', 'held', '')"
        )
        answers = await placed(rpc, [asked("k1"), asked("held"), asked("k2")])
    retry = details.RetryInfo()

    assert [answer.WhichOneof("outcome") for answer in answers] == ["order", "refusal", "order"]
    assert answers[1].refusal.code == Status.ABORTED.value
    assert any(detail.Unpack(retry) for detail in answers[1].refusal.details)


async def test_only_who_is_there_buys(serve_rpc: ServeRpc, buyers: Users) -> None:
    """PERMISSION_DENIED for those who are not, in an admin's stream of orders for many."""
    rpc = await serve_rpc("orders.rpc")
    requests = [asked("k1", username="ada"), asked("k2", username="nobody"), asked("k3", username="eve"), asked("k4")]
    answers = await placed(rpc, requests, bearer("root", "admin"))

    assert [answer.order.username for answer in answers] == ["ada", "", "eve", "root"]
    assert answers[1].refusal.code == Status.PERMISSION_DENIED.value


async def test_while_users_are_away_the_stream_ends_and_replays_are_acknowledged(serve_rpc: ServeRpc) -> None:
    """UNAVAILABLE; what was placed earlier is acknowledged all the same, and nothing else is placed."""
    rpc = await serve_rpc("orders.rpc")
    (first,) = await placed(rpc, [asked("k1")])
    rpc = await serve_rpc("orders.rpc", USERS_RPC_URL=f"http://127.0.0.1:{child.free_port()}")
    with pytest.raises(GRPCError) as ended:
        async with OrdersServiceStub(rpc.channel).PlaceOrders.open(metadata=ME, timeout=20) as stream:
            await stream.send_message(asked("k1"))
            again = await stream.recv_message()
            await stream.send_message(asked("k2"))
            await ended_by_server(stream)

    assert ended.value.status is Status.UNAVAILABLE
    assert (again.order, again.replayed) == (first.order, True)
    assert await count(rpc, "orders") == 1


async def seen(rpc: ServedRpc, order_id: str, token: str = "") -> list[v1.WatchOrderResponse]:
    """All that a watch is told, until it ends."""
    request = v1.WatchOrderRequest(order_id=order_id, resume_token=token)
    return await OrdersServiceStub(rpc.channel).WatchOrder(request, metadata=ME, timeout=20)


def names(answers: Sequence[v1.WatchOrderResponse]) -> list[str]:
    """The statuses, in words."""
    return [v1.OrderStatus.Name(answer.order.status).removeprefix("ORDER_STATUS_").lower() for answer in answers]


async def test_a_watch_is_told_every_status_once_and_ends(serve_rpc: ServeRpc) -> None:
    """Also those that came and went between two looks; and to all who watch the same order."""
    rpc = await serve_rpc("orders.rpc")
    (answer,) = await placed(rpc, [asked("k1")])
    order_id = answer.order.order_id
    watches = [asyncio.create_task(seen(rpc, order_id)) for _ in range(3)]
    async with asyncio.timeout(5):
        while rpc.app.state.watches.statistics()["open"] < 3:
            await asyncio.sleep(0.01)
    await move(rpc, order_id, "confirmed", "cancelled")
    told = [await one for one in watches]

    assert [names(one) for one in told] == [["placed", "confirmed", "cancelled"]] * 3
    assert rpc.app.state.watches.statistics()["open"] == 0


async def test_a_watch_is_resumed_by_its_token(serve_rpc: ServeRpc) -> None:
    """Only what came after it; after confirmed the cancelling, or nothing; never a token of another order."""
    rpc = await serve_rpc("orders.rpc")
    one, other = [answer.order.order_id for answer in await placed(rpc, [asked("k1"), asked("k2")])]
    await move(rpc, one, "confirmed")
    first = await seen(rpc, one)
    nothing = await seen(rpc, one, first[1].resume_token)
    await move(rpc, one, "cancelled")

    assert (names(first), nothing) == (["placed", "confirmed"], [])
    assert names(await seen(rpc, one, first[0].resume_token)) == ["confirmed", "cancelled"]
    assert names(await seen(rpc, one, first[1].resume_token)) == ["cancelled"]
    assert first[0].changed_at.ToMicroseconds() <= first[1].changed_at.ToMicroseconds()
    for wrong in (first[1].resume_token, "AAAA", "not base64", "\u00e9"):
        with pytest.raises(GRPCError) as refused:
            await seen(rpc, other, wrong)
        assert refused.value.status is Status.INVALID_ARGUMENT


async def test_nobody_watches_somebody_elses_order(serve_rpc: ServeRpc) -> None:
    """NOT_FOUND."""
    rpc = await serve_rpc("orders.rpc")
    (answer,) = await placed(rpc, [asked("k1")])
    request = v1.WatchOrderRequest(order_id=answer.order.order_id)
    with pytest.raises(GRPCError) as refused:
        await OrdersServiceStub(rpc.channel).WatchOrder(request, metadata=bearer("eve"))

    assert refused.value.status is Status.NOT_FOUND


async def test_streams_end_to_be_resumed(serve_rpc: ServeRpc) -> None:
    """UNAVAILABLE when the process is told to stop; what was sent is acknowledged, and the watch goes on elsewhere."""
    rpc = await serve_rpc("orders.rpc")
    (answer,) = await placed(rpc, [asked("k1")])
    order_id = answer.order.order_id
    orders = OrdersServiceStub(rpc.channel)
    with pytest.raises(GRPCError) as of_orders:
        async with orders.PlaceOrders.open(metadata=ME, timeout=20) as placing:
            with pytest.raises(GRPCError) as of_watch:
                async with orders.WatchOrder.open(metadata=ME, timeout=20) as watching:
                    await watching.send_message(v1.WatchOrderRequest(order_id=order_id), end=True)
                    first = await watching.recv_message()
                    await placing.send_message(asked("k2"))
                    assert (await placing.recv_message()).order.order_id
                    rpc.app.draining.set()
                    assert await watching.recv_message() is None
            await ended_by_server(placing)

    assert of_watch.value.status is of_orders.value.status is Status.UNAVAILABLE
    await move(rpc, order_id, "rejected")
    assert names(await seen(rpc, order_id, first.resume_token)) == ["rejected"]


async def test_a_stream_ends_before_it_would_be_cut(serve_rpc: ServeRpc) -> None:
    """UNAVAILABLE after STREAM_SECONDS_MAX, to a watch of an order that is settled later."""
    (answer,) = await placed(await serve_rpc("orders.rpc"), [asked("k1")])
    rpc = await serve_rpc("orders.rpc", STREAM_SECONDS_MAX="0.2")
    with pytest.raises(GRPCError) as ended:
        await seen(rpc, answer.order.order_id)

    assert ended.value.status is Status.UNAVAILABLE
    assert rpc.app.state.watches.statistics()["open"] == 0


async def test_two_streams_with_the_same_keys_place_each_once(serve_rpc: ServeRpc) -> None:
    """In opposite orders, at once: nobody waits for whoever waits for them, and both are told of the same orders."""
    rpc = await serve_rpc("orders.rpc")
    requests = [asked(f"k{number:03}") for number in range(200)]
    one, other = await asyncio.gather(placed(rpc, requests), placed(rpc, requests[::-1]))

    assert {answer.key: answer.order for answer in one} == {answer.key: answer.order for answer in other}
    assert sum(answer.replayed for answer in [*one, *other]) == 200
    assert await count(rpc, "orders") == await count(rpc, "outbox") == 200
