"""Answers about orders, shows them change, and takes many, over gRPC: protos/orders/v1/orders.proto says what."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from functions.errors import Refusal, Unauthenticated, Unavailable
from functions.orders import buyers, messages, orders, placing
from functions.orders.intake import Intake, Publishing
from functions.orders.placing import Outcome, Verify
from functions.orders.streams import ToBeResumed, ending, unless
from functions.orders.watches import Watches
from functions.rpc.calls import caller, receive
from functions.rpc.service import service
from protos.orders.v1 import orders_pb2 as v1
from protos.orders.v1.orders_grpc import OrdersServiceBase

app = service(__name__)


@contextlib.asynccontextmanager
async def _watches() -> AsyncIterator[Watches]:
    watches = Watches(lambda seen: orders.news(app.state.database, seen))
    yield watches
    await watches.close()


app.opens("buyers", buyers.chosen)
app.opens("watches", _watches)


@app.serves
class Orders(OrdersServiceBase):
    """wake.orders.v1.OrdersService."""

    async def GetOrder(self, stream: Any) -> None:  # noqa: N802 - the name in the .proto file.
        """An order, to its buyer or an admin."""
        request = await receive(stream)
        order = await orders.get(app.state.database, request.order_id, caller())
        await stream.send_message(v1.GetOrderResponse(order=messages.order_message(order.view())))

    async def WatchOrder(self, stream: Any) -> None:  # noqa: N802
        """What comes after the token, as it comes, until the order is settled."""
        request = await receive(stream)
        order = await orders.get(app.state.database, request.order_id, caller())
        steps = await orders.statuses(app.state.database, order.id)
        place = messages.place_of(request.resume_token, order.id)
        async with ending(app.draining) as end:
            while True:
                for step in steps:
                    if step.place > place:
                        await stream.send_message(messages.watched(order, step))
                if steps[-1].is_settled:
                    return
                place = steps[-1].place
                steps = await unless(end, app.state.watches.after(order.id, place))

    async def PlaceOrders(self, stream: Any) -> None:  # noqa: N802
        """An acknowledgement for each order, in their order, once it is committed."""
        verify = buyers.Remembered(app.state.buyers.verify).verify
        async with (
            ending(app.draining) as end,
            Publishing(app.publish_recorded) as publishing,
            Intake(stream, end) as intake,
        ):
            while batch := await intake.batch():
                outcomes = await _placed(batch, verify)
                publishing.committed()
                await _acknowledge(stream, batch, outcomes)
                intake.acknowledged(len(batch))
                await publishing.wait_until_close()
            if end.done():
                raise ToBeResumed


async def _placed(batch: Sequence[v1.PlaceOrdersRequest], verify: Verify) -> list[Outcome]:
    """What became of each order of a batch; those that are not valid do not concern the others."""
    read = [_read(request) for request in batch]
    valid = [one for one in read if not isinstance(one, Refusal)]
    placed = iter(await placing.place(app.state.database, valid, verify))
    return [one if isinstance(one, Refusal) else next(placed) for one in read]


def _read(request: v1.PlaceOrdersRequest) -> placing.Wanted | Refusal:
    try:
        return messages.wanted(request, caller())
    except Refusal as refusal:
        return refusal


async def _acknowledge(stream: Any, batch: Sequence[v1.PlaceOrdersRequest], outcomes: Sequence[Outcome]) -> None:
    """Acknowledge what is decided.

    Raises:
        Unavailable, Unauthenticated: something is not, which ends the stream; it is left without an acknowledgement.
    """
    undecided = None
    for request, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, (Unavailable, Unauthenticated)):
            undecided = undecided or outcome
        else:
            await stream.send_message(messages.acknowledgement(request.key, outcome))
    if undecided is not None:
        raise undecided
