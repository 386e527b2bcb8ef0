"""Orders as the messages of protos/orders/v1, and what a client sends as what we know. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status

from functions import idempotency
from functions.bodies import validated
from functions.errors import BadRequest, FieldError, Refusal, Unprocessable
from functions.identity import Identity
from functions.orders import placing
from functions.orders.order import Order, Step
from functions.orders.placing import Outcome, PlaceOrder, Wanted
from functions.rpc import statuses
from protos.orders.v1 import orders_pb2 as v1

_FIELDS = {"amount": "price.amount", "currency": "price.currency", "body": "price"}
_PLACE_BYTES = 4


def order_message(view: Mapping[str, Any]) -> v1.Order:
    """An order as the API shows it."""
    return v1.Order(
        order_id=view["order_id"],
        username=view["username"],
        price=v1.Money(amount=view["amount"], currency=view["currency"]),
        status=f"ORDER_STATUS_{view['status'].upper()}",
        created_at=_timestamp(datetime.fromisoformat(view["created_at"])),
    )


def watched(order: Order, step: Step) -> v1.WatchOrderResponse:
    """The order with one of its statuses, and the token that stands for that."""
    return v1.WatchOrderResponse(
        order=order_message(replace(order, status=step.status).view()),
        resume_token=resume_token(order.id, step.place),
        changed_at=_timestamp(step.at),
    )


def resume_token(order_id: UUID, place: int) -> str:
    """What stands for the message of an order's status at this place."""
    return base64.urlsafe_b64encode(order_id.bytes + place.to_bytes(_PLACE_BYTES)).decode().rstrip("=")


def place_of(token: str, order_id: UUID) -> int:
    """The place that a token stands for; 0, before the first, where there is no token.

    Raises:
        Unprocessable: it is none of this order.
    """
    if not token:
        return 0
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != len(order_id.bytes) + _PLACE_BYTES or content[:-_PLACE_BYTES] != order_id.bytes:
        raise Unprocessable(errors=[FieldError("resume_token", "this is no token of this order")])
    return int.from_bytes(content[-_PLACE_BYTES:])


def wanted(request: v1.PlaceOrdersRequest, caller: Identity) -> Wanted:
    """One order to place, held to the same rules as the body of POST /orders/.

    Raises:
        Unprocessable: a field is not as it should be.
        Forbidden: it is for somebody else.
    """
    asked = _asked(request)
    try:
        claim = idempotency.claim_of(request.key, caller.username, placing.OPERATION, asked)
    except BadRequest as error:
        what = "this has to be 1 to 255 printable ASCII characters, without the double quote"
        raise Unprocessable("The order is not valid.", errors=[FieldError("key", what)]) from error
    return placing.wanted(asked, caller, claim)


def _asked(request: v1.PlaceOrdersRequest) -> PlaceOrder:
    body = {
        "username": request.username or None,
        "amount": request.price.amount,
        "currency": request.price.currency,
        "payment_token": request.payment_token,
    }
    try:
        return validated(PlaceOrder, body)
    except Unprocessable as error:
        errors = [FieldError(_FIELDS.get(one.field, one.field), one.message) for one in error.errors]
        raise Unprocessable("The order is not valid.", errors=errors) from error


def acknowledgement(key: str, outcome: Outcome) -> v1.PlaceOrdersResponse:
    """What became of the order under a key."""
    if isinstance(outcome, Refusal):
        return v1.PlaceOrdersResponse(key=key, refusal=status_message(outcome))
    order = order_message(json.loads(outcome.body))
    return v1.PlaceOrdersResponse(key=key, order=order, replayed=outcome.replayed)


def status_message(refusal: Refusal) -> Status:
    """A refusal as a message, where it is not the status of the whole call."""
    error = statuses.of_refusal(refusal)
    status = Status(code=error.status.value, message=error.message)
    for detail in error.details or ():
        status.details.add().Pack(detail)
    return status


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
