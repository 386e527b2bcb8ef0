"""The catalogue: every event that crosses an area, its name and payload, written once.

A name (`orders.placed.v1`) outlives the class. Within a version fields are only added, with a default, and nothing gets
narrower; consumers ignore those they do not know. `make generated` writes from this file the schemas
(functions/schemas), the EventTypes, docs/events.md and docs/asyncapi.yaml; `make check` says whom a change would break.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from functions.identity import USERNAME
from functions.money import DECIMAL
from functions.payload import Payload

# The order of the examples.
ORDER = "01a20b76-4eb5-7c00-90cb-bcd920daa209"
OrderId = Annotated[
    str,
    Field(
        pattern="^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
        description="The order: a UUID (version 7 where Wake made it).",
        examples=[ORDER],
    ),
]
Username = Annotated[
    str, Field(pattern=USERNAME, description="The user's name, lower case, for ever.", examples=["ada"])
]
Amount = Annotated[
    str,
    Field(
        pattern=DECIMAL,
        description="An amount of money: a decimal with no more digits after the point than `currency` has.",
        examples=["99.50"],
    ),
]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="The currency's code (ISO 4217).", examples=["EUR"])]
PaymentToken = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_]{1,64}$",
        description="What the card processor charges; it is no card number.",
        examples=["tok_approve"],
    ),
]
Reason = Annotated[str, Field(description="Why, for people to read.", examples=["card_declined"])]
Version = Annotated[
    int,
    Field(
        description="The object's version from now on; 0 in events that were recorded before they had it.", examples=[2]
    ),
]


class Change(Payload):
    """After this an object is another: who keeps a copy of it forgets it."""

    version: Version = 0


class UsersRegistered(Payload):
    """Somebody registered."""

    TYPE = "users.registered.v1"
    SUBJECT = "username"
    username: Username


class UsersUpdated(Change):
    """Somebody's address or password is another; which of them, and what it is, is nobody's to read here."""

    TYPE = "users.updated.v1"
    SUBJECT = "username"
    username: Username


class UsersDeactivated(Change):
    """Somebody can sign in no more."""

    TYPE = "users.deactivated.v1"
    SUBJECT = "username"
    username: Username


class OrdersPlaced(Payload):
    """An order was accepted and waits for its payment."""

    TYPE = "orders.placed.v1"
    order_id: OrderId
    username: Username
    amount: Amount
    currency: Currency
    payment_token: PaymentToken


class OrdersConfirmed(Change):
    """An order was paid."""

    TYPE = "orders.confirmed.v1"
    order_id: OrderId
    username: Username


class OrdersRejected(Change):
    """An order will not be paid."""

    TYPE = "orders.rejected.v1"
    order_id: OrderId
    username: Username
    reason: Reason


class OrdersCancelled(Change):
    """The buyer took an order back; what was captured for it has to be refunded."""

    TYPE = "orders.cancelled.v1"
    order_id: OrderId
    username: Username
    amount: Amount
    currency: Currency


class OrdersExpired(Change):
    """Nothing was paid in time: the order is not to be had any more, and what is captured for it is refunded."""

    TYPE = "orders.expired.v1"
    order_id: OrderId
    username: Username
    amount: Amount
    currency: Currency


class PaymentsCaptured(Payload):
    """The order's amount was taken from the card."""

    TYPE = "payments.captured.v1"
    order_id: OrderId
    amount: Amount
    currency: Currency


class PaymentsDeclined(Payload):
    """The card was not charged and will not be."""

    TYPE = "payments.declined.v1"
    order_id: OrderId
    reason: Reason


class PaymentsRefunded(Payload):
    """So much was given back."""

    TYPE = "payments.refunded.v1"
    order_id: OrderId
    amount: Amount
    currency: Currency
    reason: Reason


class EventRefused(Payload):
    """A function was given an event that it can never handle."""

    SUBJECT = "event_id"
    event_id: Annotated[str, Field(description="The refused event's id.", examples=[ORDER])]
    event: Annotated[
        dict[str, Any],
        Field(
            description="The refused event, in the JSON event format (CloudEvents 1.0).",
            examples=[{"specversion": "1.0", "id": ORDER, "source": "/wake/orders", "type": "orders.placed.v1"}],
        ),
    ]
    reason: Reason
    function: Annotated[str, Field(description="The function that refused it.", examples=["payments-charge"])]


class UsersEventRefused(EventRefused):
    """A function of users was given an event that it can never handle."""

    TYPE = "users.event-refused.v1"


class OrdersEventRefused(EventRefused):
    """A function of orders was given an event that it can never handle."""

    TYPE = "orders.event-refused.v1"


class PaymentsEventRefused(EventRefused):
    """A function of payments was given an event that it can never handle."""

    TYPE = "payments.event-refused.v1"


REFUSED: dict[str, type[EventRefused]] = {
    "users": UsersEventRefused,
    "orders": OrdersEventRefused,
    "payments": PaymentsEventRefused,
}
