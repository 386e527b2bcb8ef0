"""What every event's data is: a frozen model of known fields, that becomes a CloudEvent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from eventing.event import Event, new_id
from functions import correlation


class Payload(BaseModel):
    """The data of an event. `SUBJECT` names the field that the event is about."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    TYPE: ClassVar[str]
    SUBJECT: ClassVar[str] = "order_id"

    @classmethod
    def source(cls) -> str:
        """Where its events come from: the area, `/wake/orders`."""
        return f"/wake/{cls.TYPE.partition('.')[0]}"

    @classmethod
    def schema_uri(cls) -> str:
        """The schema's `$id` and its events' dataschema: a name for ever (a tag URI, RFC 4151), not an address."""
        return f"tag:wake.dev,2026:{cls.TYPE}"

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
            source=self.source(),
            type=self.TYPE,
            subject=str(getattr(self, self.SUBJECT)),
            time=datetime.now(UTC),
            datacontenttype="application/json",
            dataschema=self.schema_uri(),
            extensions={name: value for name, value in extensions.items() if value is not None},
            data=self.model_dump_json().encode(),
        )
