"""The doors of requests: an order is placed, and looked at, over HTTP, gRPC, func-python and Lambda."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from eventing.event import new_id
from protos.orders.v1 import orders_pb2 as v1
from protos.orders.v1.orders_grpc import OrdersServiceStub
from tests.functions.aws.runtime_api import Lambda, sample
from tests.functions.doors.outcomes import Outcome, of_grpc, of_http, of_status


@dataclass(frozen=True)
class Features:
    """How a door differs from the others: the sheet that the suite goes by."""

    #: What it calls a field of an order.
    fields: Mapping[str, str] = field(default_factory=dict)
    #: Whether a body can be anything at all, or is a message whose shape the protocol sees to.
    any_body: bool = True
    #: Whether a header that came twice still is two when it is here.
    tells_twice: bool = True


class Door(Protocol):
    """One way to call functions."""

    features: Features

    async def place(self, headers: Mapping[str, str], key: str, body: Mapping[str, Any]) -> Outcome:
        """Place an order."""

    async def get(self, headers: Mapping[str, str], order_id: str) -> Outcome:
        """Look at one."""

    async def send(self, headers: list[tuple[str, str]], body: bytes) -> Outcome:
        """Place an order with any headers and body; for doors of any_body."""


class OverHttp:
    """A server that speaks HTTP: uvicorn, or func-python's. What is beside what may differ, so there may be two."""

    def __init__(self, place: str, get: str, *, tells_twice: bool = True) -> None:
        self._place, self._get = place, get
        self.features = Features(tells_twice=tells_twice)

    async def place(self, headers: Mapping[str, str], key: str, body: Mapping[str, Any]) -> Outcome:
        """POST /orders/."""
        return await self.send(_json({**headers, "idempotency-key": key}), json.dumps(body).encode())

    async def get(self, headers: Mapping[str, str], order_id: str) -> Outcome:
        """GET /orders/{order_id}."""
        async with httpx.AsyncClient(verify=False) as client:
            return _read(await client.get(f"{self._get}/orders/{order_id}", headers=headers))

    async def send(self, headers: list[tuple[str, str]], body: bytes) -> Outcome:
        """POST /orders/."""
        async with httpx.AsyncClient(verify=False) as client:
            return _read(await client.post(f"{self._place}/orders/", content=body, headers=headers))


def _json(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [*headers.items(), ("content-type", "application/json")]


def _read(answer: httpx.Response) -> Outcome:
    return of_http(answer.status_code, answer.headers, answer.json())


class OverGrpc:
    """orders-rpc: one order on a stream of its own."""

    features = Features(
        fields={"amount": "price.amount", "currency": "price.currency", "body": "price"}, any_body=False
    )

    def __init__(self, port: int) -> None:
        self._port = port

    async def place(self, headers: Mapping[str, str], key: str, body: Mapping[str, Any]) -> Outcome:
        """PlaceOrders."""
        request = v1.PlaceOrdersRequest(
            key=key,
            username=body.get("username", ""),
            price=v1.Money(amount=body["amount"], currency=body["currency"]),
            payment_token=body["payment_token"],
        )
        try:
            async with Channel("127.0.0.1", self._port) as channel:
                (answer,) = await OrdersServiceStub(channel).PlaceOrders([request], metadata=headers)
        except GRPCError as error:
            return of_grpc(error.status.value, list(error.details or ()))
        return of_status(answer.refusal) if answer.WhichOneof("outcome") == "refusal" else _order(answer.order)

    async def get(self, headers: Mapping[str, str], order_id: str) -> Outcome:
        """GetOrder."""
        try:
            async with Channel("127.0.0.1", self._port) as channel:
                answer = await OrdersServiceStub(channel).GetOrder(
                    v1.GetOrderRequest(order_id=order_id), metadata=headers
                )
        except GRPCError as error:
            return of_grpc(error.status.value, list(error.details or ()))
        return _order(answer.order)


def _order(order: v1.Order) -> Outcome:
    """An order as HTTP shows it."""
    shown = {
        "order_id": order.order_id,
        "username": order.username,
        "amount": order.price.amount,
        "currency": order.price.currency,
        "status": v1.OrderStatus.Name(order.status).removeprefix("ORDER_STATUS_").lower(),
        "created_at": order.created_at.ToJsonString(),
    }
    return Outcome("done", shown)


class OverLambda:
    """A gateway in front of Lambda; the functions are two, as its routes have it."""

    def __init__(self, gateway: str, place: Lambda, get: Lambda) -> None:
        self._gateway, self._place, self._get = gateway, place, get
        several = "multiValueHeaders" in sample(gateway, authorization="", key="", body="")
        self.features = Features(tells_twice=several)

    async def place(self, headers: Mapping[str, str], key: str, body: Mapping[str, Any]) -> Outcome:
        """POST /orders/."""
        return await self.send(_json({**headers, "idempotency-key": key}), json.dumps(body).encode())

    async def get(self, headers: Mapping[str, str], order_id: str) -> Outcome:
        """GET /orders/{order_id}."""
        return self._called(self._get, "GET", f"/orders/{order_id}", list(headers.items()), b"")

    async def send(self, headers: list[tuple[str, str]], body: bytes) -> Outcome:
        """POST /orders/."""
        return self._called(self._place, "POST", "/orders/", headers, body)

    def _called(self, function: Lambda, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Outcome:
        event = sample(self._gateway, authorization="", key=new_id(), body=base64.b64encode(body).decode())
        event["isBase64Encoded"] = True
        several: dict[str, list[str]] = {}
        for name, value in headers:
            several.setdefault(name, []).append(value)
        if "headers" in event:
            event["headers"] = {name: ",".join(values) for name, values in several.items()}
        if "multiValueHeaders" in event:
            event["multiValueHeaders"] = several
        if "httpMethod" in event:
            event |= {"httpMethod": method, "path": path}
        else:
            stage = event["requestContext"]["stage"]
            where = path if stage == "$default" else f"/{stage}{path}"
            event["rawPath"] = event["requestContext"]["http"]["path"] = where
            event["requestContext"]["http"]["method"] = method
        answer = function.invoke(event)
        found = {name: ", ".join(values) for name, values in (answer.get("multiValueHeaders") or {}).items()}
        content = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"]
        return of_http(answer["statusCode"], {**found, **(answer.get("headers") or {})}, json.loads(content))
