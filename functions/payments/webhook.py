"""Takes the card processor's webhooks: POST /payments/webhooks/{provider}. Late, repeated, reordered: all normal."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from eventing import inbox
from eventing.event import Event
from eventing.inbox import EventReused
from functions.app import operation
from functions.database import InDatabase
from functions.errors import BadRequest, NotFound, Unauthenticated, Unavailable, Unprocessable
from functions.payments import payments, settlement
from functions.payments.cards import port
from functions.payments.cards.port import Told
from functions.payments.webhooks import BadSignature

_log = logging.getLogger("functions")
app = operation(__name__)
app.opens("processor", port.chosen)


@app.post("/payments/webhooks/{provider}", status_code=204)
async def webhook(provider: str, request: Request, database: InDatabase) -> Response:
    """Record what it tells, once; a payment that nobody here knows is no business of ours. 401 without a signature."""
    if provider != os.environ.get("CARD_PROCESSOR", "simulator"):
        raise NotFound
    body = await request.body()
    told = _read(provider, request.headers, body)
    order_id = _order(told)
    if told is None or order_id is None:
        return Response(status_code=204)
    event = Event(id=told.id, source=f"/webhooks/{provider}", type="charge.updated", data=body)
    async with database.transaction() as transaction:
        try:
            if not await inbox.first_time(transaction, app.name, event):
                return Response(status_code=204)
        except EventReused as error:
            raise Unprocessable("This id was used for another call.") from error
        try:
            payment = await payments.lock(transaction, order_id)
        except payments.UnknownPayment:
            _log.warning("webhook_of_nobody", extra={"subject": told.key})
            return Response(status_code=204)
        await settlement.settle(transaction, payment, told.answer, "webhook")
    # What it told is recorded: a refund that this asks for is given now, or by payments-settle.
    with contextlib.suppress(Unavailable):
        await settlement.pursue(database, app.state.processor, order_id)
    return Response(status_code=204)


def _read(provider: str, headers: Mapping[str, str], body: bytes) -> Told | None:
    reader: Any
    if provider == "stripe":
        from functions.payments.cards.stripe import read_webhook as reader  # noqa: PLC0415 - the chosen one only.
    else:
        from functions.payments.cards.simulator import read_webhook as reader  # noqa: PLC0415
    secrets = os.environ["WEBHOOK_SECRET"].split()
    try:
        told: Told | None = reader(headers, body, secrets, time.time())
    except BadSignature as error:
        raise Unauthenticated("The signature is not one of ours, or too old.") from error
    except (ValueError, KeyError, TypeError, AttributeError, port.ProcessorSilent) as error:
        raise BadRequest("The body is not what this processor sends.") from error
    return told


def _order(told: Told | None) -> UUID | None:
    with contextlib.suppress(ValueError):
        return None if told is None else UUID(told.key)
    return None
