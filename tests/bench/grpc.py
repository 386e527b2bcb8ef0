"""GetUser over gRPC beside the same call by pooled httpx, and beside a bare grpclib and a bare grpcio echo.

Every server and every client is a process of its own; users-rpc and users-get are the real functions, each with its
PostgreSQL behind it, its token checked and its line of log written. The bare ones send the same message back, and do
nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpclib.client
import grpclib.server
import httpx
import uvloop

from eventing.httpclient import client as httpclient
from functions.rpc.channel import Channel
from protos.users.v1 import users_pb2 as v1
from protos.users.v1.users_grpc import UsersServiceBase, UsersServiceStub
from tests.bench import direct
from tests.flows.conftest import ROOT, Customer, Installation

IN_FLIGHT, SECONDS, ROUNDS = 32, 0.7, 3
_METHOD = "/wake.users.v1.UsersService/GetUser"
Call = Callable[[], Awaitable[object]]


def run(installation: Installation) -> None:
    """Print the figures."""
    customer = Customer(installation)
    with contextlib.ExitStack() as stack:

        def serve(name: str) -> int:
            return stack.enter_context(direct.serving(name, direct.variables(installation, name)))

        ports = {
            "httpx to users-get": serve("users-get"),
            "gRPC to users-rpc": serve("users-rpc"),
            "bare grpclib echo": stack.enter_context(direct.program(__name__, "serve", "grpclib")),
            "bare grpcio echo": stack.enter_context(direct.program(__name__, "serve", "grpcio")),
        }
        # In turns, so that what else the machine does meets them all.
        rounds = [{kind: _measured(kind, port, customer) for kind, port in ports.items()} for _ in range(ROUNDS)]
    customer.http.close()
    print(f"\nGetUser, one process calling another: one at a time, and {IN_FLIGHT} in flight (median of {ROUNDS})")
    one = {kind: statistics.median(round_[kind][0] for round_ in rounds) for kind in ports}
    many = {kind: statistics.median(round_[kind][1] for round_ in rounds) for kind in ports}
    for kind in ports:
        print(f"  {kind:<20}{one[kind] * 1000:8.2f} ms{many[kind]:10.0f} calls/s")
    rpc, http, bare = "gRPC to users-rpc", "httpx to users-get", "bare grpclib echo"
    print(
        f"  time of a call, gRPC / httpx            {one[rpc] / one[http]:5.2f}  (bar: at most 0.50)\n"
        f"  calls/s in flight, gRPC / httpx         {many[rpc] / many[http]:5.2f}  (bar: at least 3)\n"
        f"  calls/s in flight, gRPC / bare grpclib  {many[rpc] / many[bare]:5.2f}  (bar: at least 0.8)\n"
        f"  calls/s in flight, gRPC / bare grpcio   {many[rpc] / many['bare grpcio echo']:5.2f}",
        flush=True,
    )


def _measured(kind: str, port: int, customer: Customer) -> tuple[float, float]:
    command = [sys.executable, "-m", __name__, "call", kind, str(port), customer.username]
    environment = {**os.environ, "TOKEN": customer.http.headers["authorization"], "NO_PROXY": "127.0.0.1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    one, many = json.loads(result.stdout)
    return one, many


async def _call(kind: str, port: int, username: str) -> None:
    """The client's process: print seconds a call, and calls a second."""
    async with _caller(kind, port, username) as call:
        for _ in range(50):
            await call()
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            await call()
            count += 1
        one = (time.perf_counter() - began) / count
        many, began = 0, time.perf_counter()

        async def go_on() -> None:
            nonlocal many
            while time.perf_counter() - began < SECONDS:
                await call()
                many += 1

        await asyncio.gather(*(go_on() for _ in range(IN_FLIGHT)))
        print(json.dumps([one, many / (time.perf_counter() - began)]))


@contextlib.asynccontextmanager
async def _caller(kind: str, port: int, username: str) -> AsyncIterator[Call]:
    request, headers = v1.GetUserRequest(username=username), {"authorization": os.environ["TOKEN"]}
    if kind == "httpx to users-get":
        async with httpclient(secure=False, timeout=httpx.Timeout(10)) as http:
            url = f"http://127.0.0.1:{port}/users/{username}"
            yield lambda: http.get(url, headers=headers)
    elif kind == "gRPC to users-rpc":
        async with Channel(f"http://127.0.0.1:{port}") as channel:
            ours = UsersServiceStub(channel)
            yield lambda: ours.GetUser(request, metadata=headers)
    elif kind == "bare grpclib echo":
        async with grpclib.client.Channel("127.0.0.1", port) as bare:
            theirs = UsersServiceStub(bare)
            yield lambda: theirs.GetUser(request)
    else:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as other:
            method = other.unary_unary(
                _METHOD,
                request_serializer=v1.GetUserRequest.SerializeToString,
                response_deserializer=v1.GetUserResponse.FromString,
            )
            yield lambda: method(request)


def _answer() -> v1.GetUserResponse:
    made = v1.GetUserResponse(user=v1.User(username="ada-12345678", email="ada@example.com"))
    made.user.created_at.GetCurrentTime()
    return made


class _Echo(UsersServiceBase):
    """One method, which does nothing."""

    async def GetUser(self, stream: Any) -> None:  # noqa: N802
        """The same answer to everybody."""
        await stream.recv_message()
        await stream.send_message(_answer())

    async def BatchGetUsers(self, stream: Any) -> None:  # noqa: N802
        """Not measured."""

    async def VerifyBuyer(self, stream: Any) -> None:  # noqa: N802
        """Not measured."""


async def _serve_grpclib(port: int) -> None:
    server = grpclib.server.Server([_Echo()])
    await server.start("127.0.0.1", port)
    await server.wait_closed()


async def _serve_grpcio(port: int) -> None:
    async def get_user(_: object, __: object) -> v1.GetUserResponse:
        return _answer()

    method = grpc.unary_unary_rpc_method_handler(
        get_user,
        request_deserializer=v1.GetUserRequest.FromString,
        response_serializer=v1.GetUserResponse.SerializeToString,
    )
    service, name = _METHOD[1:].split("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """One of the processes."""
    if sys.argv[1] == "serve":
        serve = _serve_grpclib if sys.argv[2] == "grpclib" else _serve_grpcio
        uvloop.run(serve(int(os.environ["PORT"])))
    else:
        uvloop.run(_call(sys.argv[2], int(sys.argv[3]), sys.argv[4]))


if __name__ == "__main__":
    main()
