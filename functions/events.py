"""The catalogue: every event that crosses an area, its name and payload, written once.

A name (`orders.placed.v1`) outlives the class. Within a version fields are only added; consumers ignore those they do
not know.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from eventing.event import Event, new_id
from functions import correlation


class Payload(BaseModel):
    """The data of an event. `SUBJECT` names the field that the event is about."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    TYPE: ClassVar[str]
    SUBJECT: ClassVar[str] = "order_id"

    def to_event(self) -> Event:
        """A new event with this data, with what caused it in its extensions."""
        cause = correlation.current().cause
        extensions = {
            "correlationid": cause.correlation_id or None,
            "causationid": cause.causation_id,
            "traceparent": cause.traceparent,
        }
        return Event(
            id=new_id(),
            source=f"/wake/{self.TYPE.partition('.')[0]}",
            type=self.TYPE,
            subject=str(getattr(self, self.SUBJECT)),
            time=datetime.now(UTC),
            datacontenttype="application/json",
            extensions={name: value for name, value in extensions.items() if value is not None},
            data=self.model_dump_json().encode(),
        )


class Change(Payload):
    """After this an object is another: who keeps a copy of it forgets it.

    `version` is the object's from now on; 0 in events that were recorded before they had it.
    """

    version: int = 0


class UsersRegistered(Payload):
    """Somebody registered."""

    TYPE = "users.registered.v1"
    SUBJECT = "username"
    username: str


class UsersUpdated(Change):
    """Somebody's address or password is another; which of them, and what it is, is nobody's to read here."""

    TYPE = "users.updated.v1"
    SUBJECT = "username"
    username: str


class UsersDeactivated(Change):
    """Somebody can sign in no more."""

    TYPE = "users.deactivated.v1"
    SUBJECT = "username"
    username: str


class OrdersPlaced(Payload):
    """An order was accepted and waits for its payment. `amount` is a decimal string in `currency` (ISO 4217)."""

    TYPE = "orders.placed.v1"
    order_id: str
    username: str
    amount: str
    currency: str
    payment_token: str


class OrdersConfirmed(Change):
    """An order was paid."""

    TYPE = "orders.confirmed.v1"
    order_id: str
    username: str


class OrdersRejected(Change):
    """An order will not be paid."""

    TYPE = "orders.rejected.v1"
    order_id: str
    username: str
    reason: str


class OrdersCancelled(Change):
    """The buyer took an order back; what was captured for it has to be refunded."""

    TYPE = "orders.cancelled.v1"
    order_id: str
    username: str
    amount: str
    currency: str


class OrdersExpired(Change):
    """Nothing was paid in time: the order is not to be had any more, and what is captured for it is refunded."""

    TYPE = "orders.expired.v1"
    order_id: str
    username: str
    amount: str
    currency: str


class PaymentsCaptured(Payload):
    """The order's amount was taken from the card."""

    TYPE = "payments.captured.v1"
    order_id: str
    amount: str
    currency: str


class PaymentsDeclined(Payload):
    """The card was not charged and will not be."""

    TYPE = "payments.declined.v1"
    order_id: str
    reason: str


class PaymentsRefunded(Payload):
    """So much was given back."""

    TYPE = "payments.refunded.v1"
    order_id: str
    amount: str
    currency: str
    reason: str


class EventRefused(Payload):
    """A function was given an event that it can never handle. `event` is that event in the JSON format."""

    SUBJECT = "event_id"
    event_id: str
    event: dict[str, Any]
    reason: str
    function: str


class UsersEventRefused(EventRefused):
    """Refused by a function of users."""

    TYPE = "users.event-refused.v1"


class OrdersEventRefused(EventRefused):
    """Refused by a function of orders."""

    TYPE = "orders.event-refused.v1"


class PaymentsEventRefused(EventRefused):
    """Refused by a function of payments."""

    TYPE = "payments.event-refused.v1"


REFUSED: dict[str, type[EventRefused]] = {
    "users": UsersEventRefused,
    "orders": OrdersEventRefused,
    "payments": PaymentsEventRefused,
}
