"""gRPC through the gateway, on the port of HTTP: what protos/README.md says, and orders that are watched."""

from __future__ import annotations

import asyncio
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpclib.client import Channel
from grpclib.exceptions import GRPCError, StreamTerminatedError

from protos.orders.v1 import orders_pb2 as v1
from protos.orders.v1.orders_grpc import OrdersServiceStub
from protos.users.v1 import users_pb2 as users
from tests.flows.conftest import ROOT, Customer, Installation, wait_until

README = ROOT / "protos/README.md"
_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WATCH = "/wake.orders.v1.OrdersService/WatchOrder"


def by_grpclib(running: Installation, customer: Customer, order_id: str) -> list[v1.WatchOrderResponse]:
    """What grpclib's client is told."""

    async def watch() -> list[v1.WatchOrderResponse]:
        async with Channel("127.0.0.1", running.port) as channel:
            request = v1.WatchOrderRequest(order_id=order_id)
            return list(await OrdersServiceStub(channel).WatchOrder(request, metadata=metadata(customer), timeout=30))

    return asyncio.run(watch())


def by_grpcio(running: Installation, customer: Customer, order_id: str) -> list[v1.WatchOrderResponse]:
    """What grpcio's client is told."""
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        call = channel.unary_stream(
            WATCH,
            request_serializer=v1.WatchOrderRequest.SerializeToString,
            response_deserializer=v1.WatchOrderResponse.FromString,
        )
        token = list(metadata(customer).items())
        return list(call(v1.WatchOrderRequest(order_id=order_id), metadata=token, timeout=30))


def metadata(customer: Customer) -> dict[str, str]:
    """The customer's token."""
    return {"authorization": customer.http.headers["authorization"]}


def test_watching_wakes_the_function_and_ends_when_the_order_is_settled(
    running: Installation, customer: Customer
) -> None:
    """Each status once and in order, as it comes; to a grpclib and a grpcio client that call a sleeping function."""
    wait_until(lambda: "orders-rpc" not in running.awake(), 60)
    starts = running.service("orders-rpc")["starts"]
    orders = [customer.place("tok_slow_1") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        watching = [
            pool.submit(watch, running, customer, order_id)
            for watch, order_id in zip((by_grpclib, by_grpcio), orders, strict=True)
        ]
        told = [one.result() for one in watching]

    for order_id, one in zip(orders, told, strict=True):
        assert [each.order.status for each in one] == [v1.ORDER_STATUS_PLACED, v1.ORDER_STATUS_CONFIRMED]
        assert {each.order.order_id for each in one} == {order_id}
        assert len({each.resume_token for each in one}) == 2
    wait_until(lambda: running.service("orders-rpc")["starts"] > starts)
    assert running.service("orders-rpc")["starts"] == starts + 1


def test_an_open_connection_keeps_nothing_awake(running: Installation, customer: Customer) -> None:
    """A function sleeps once it has no calls, whoever stays connected and pings; and wakes at the next one."""
    options = [("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_permit_without_calls", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{running.port}", options=options) as channel:
        get = channel.unary_unary(
            "/wake.users.v1.UsersService/GetUser",
            request_serializer=users.GetUserRequest.SerializeToString,
            response_deserializer=users.GetUserResponse.FromString,
        )

        def call() -> str:
            request = users.GetUserRequest(username=customer.username)
            return str(get(request, metadata=list(metadata(customer).items()), timeout=20).user.username)

        assert call() == customer.username
        wait_until(lambda: "users-rpc" in running.awake())
        wait_until(lambda: "users-rpc" not in running.awake(), 40)
        assert call() == customer.username


async def test_a_watch_that_is_cut_is_resumed(running: Installation, customer: Customer) -> None:
    """The function is killed while an order is watched; with the token the next process tells only what is new."""
    order_id = await asyncio.to_thread(customer.place, "tok_slow_2")
    async with Channel("127.0.0.1", running.port) as channel:
        watch = OrdersServiceStub(channel).WatchOrder
        with pytest.raises((GRPCError, StreamTerminatedError)):
            async with watch.open(metadata=metadata(customer), timeout=30) as stream:
                await stream.send_message(v1.WatchOrderRequest(order_id=order_id), end=True)
                first = await stream.recv_message()
                assert first is not None
                await asyncio.to_thread(running.wake, "crash", "orders-rpc")
                await stream.recv_message()
        request = v1.WatchOrderRequest(order_id=order_id, resume_token=first.resume_token)
        told = await watch(request, metadata=metadata(customer), timeout=30)

    assert [one.order.status for one in told] == [v1.ORDER_STATUS_CONFIRMED]


def test_what_the_readme_says_can_be_pasted(running: Installation, tmp_path: Path) -> None:
    """Every block, one after the other in one shell, prints what stands below it."""
    said = {"sh": "", "text": ""}
    for kind, text in _BLOCK.findall(README.read_text()):
        said[kind] += text.replace("localhost:8080", f"localhost:{running.port}").replace(
            '"localhost", 8080', f'"localhost", {running.port}'
        )
    done = subprocess.run(
        ["bash", "-e", "-c", said["sh"]], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == said["text"]


def test_a_service_that_is_not_there_is_said_in_a_sentence(running: Installation) -> None:
    """Envoy answers it, and what is a problem document over HTTP would be its JSON in grpc-message."""
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/nobody.v1.NobodysService/Nothing")(b"", timeout=10)

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == "There is nothing at this method and path."
