"""The gate in front of the CloudEvents SDK: what is no valid event gets no further.

The SDK invents a missing id (so that no repetition would ever be recognised) and lets a stray `ce-` header turn a
structured event into a binary one with another identity. Here Content-Type alone decides the mode, every required
attribute must be there, and each only once (CloudEvents HTTP binding 1.0.2, section 3).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.v1.event import CloudEvent

from eventing import strictjson
from eventing.event import Event, RawData, is_json, rfc3339

_REQUIRED = ("id", "source", "type", "specversion")
# CloudEvents asks for lower-case letters and digits and recommends at most 20; Knative refuses hyphens.
_NAME = re.compile(r"[a-z0-9]{1,64}")
# Control characters, and what stands for bytes that were no UTF-8.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ufffd]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_VALUE_BYTES_MAX = 1024
_DEPTH_MAX = 64


class NotAnEvent(ValueError):
    """What arrived is no CloudEvent that can be taken; `status` is the HTTP answer (400 or 415)."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


def receive(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Event:
    """The event of an HTTP message, binary or structured.

    Raises:
        NotAnEvent: with the reason; 415 for batches and formats other than JSON.
    """
    content_types: list[str] = []
    attributes: dict[str, bytes] = {}
    for raw_name, value in headers:
        name = raw_name.decode("latin-1").lower()
        if name == "content-type":
            content_types.append(value.decode("latin-1"))
        elif name.startswith("ce-"):
            if name[3:] in attributes:
                raise NotAnEvent(f"the header {name} came twice")
            attributes[name[3:]] = value
    if len(content_types) > 1:
        raise NotAnEvent("the header content-type came twice")
    content_type = content_types[0] if content_types else None
    media = (content_type or "").partition(";")[0].strip().lower()
    if media.startswith("application/cloudevents-batch"):
        raise NotAnEvent("batches of events are not taken: send one event a request", 415)
    if media.startswith("application/cloudevents"):
        if media != "application/cloudevents+json":
            raise NotAnEvent(f"structured events are taken as application/cloudevents+json, not {media}", 415)
        return from_json(body)
    return _from_binary(attributes, content_type, body)


def _from_binary(attributes: Mapping[str, bytes], content_type: str | None, body: bytes) -> Event:
    if "datacontenttype" in attributes:
        raise NotAnEvent("datacontenttype is the Content-Type header in binary mode, not ce-datacontenttype")
    for name, value in attributes.items():
        if _BAD_ESCAPE.search(value):
            raise NotAnEvent(f"the header ce-{name} has a percent sign that encodes nothing")
    headers = {f"ce-{name}": value.decode("latin-1") for name, value in attributes.items()}
    if content_type is not None:
        headers["content-type"] = content_type
    if not attributes:
        raise NotAnEvent("this is no CloudEvent: it has neither ce- headers nor the content type of a structured one")
    _check_required({name: value.decode("latin-1") for name, value in attributes.items()})
    try:
        decoded = from_binary(HTTPMessage(headers, body), RawData(), CloudEvent)
    except (BaseCloudEventException, ValueError) as error:
        raise NotAnEvent(f"this is no valid CloudEvent: {error}") from error
    return _checked(_without_invented_time(decoded.get_attributes(), attributes), body)


def _without_invented_time(decoded: Mapping[str, Any], sent: Iterable[str]) -> Mapping[str, Any]:
    """The SDK sets the time to now where none was sent."""
    return decoded if "time" in sent else {name: value for name, value in decoded.items() if name != "time"}


def from_json(body: bytes) -> Event:
    """The event of the JSON event format.

    Raises:
        NotAnEvent: with the reason.
    """
    try:
        members = strictjson.parse(body, depth_max=_DEPTH_MAX)
    except strictjson.InvalidJson as error:
        raise NotAnEvent(str(error)) from error
    if not isinstance(members, dict):
        raise NotAnEvent("a structured event is a JSON object")
    if "data" in members and "data_base64" in members:
        raise NotAnEvent("an event has data or data_base64, not both")
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    attributes = {name: _canonical(name, value) for name, value in members.items() if value is not None}
    _check_required(attributes)
    if data is not None and "datacontenttype" not in attributes:
        attributes["datacontenttype"] = "application/json"
    return _checked(_through_sdk(attributes), _data(data, encoded, attributes.get("datacontenttype")))


def _through_sdk(attributes: Mapping[str, str]) -> Mapping[str, Any]:
    """Let the SDK judge what the specification says of each attribute."""
    values: dict[str, Any] = dict(attributes)
    try:
        if "time" in values:
            values["time"] = datetime.fromisoformat(values["time"])
        return _without_invented_time(CloudEvent(values, None).get_attributes(), attributes)
    except (BaseCloudEventException, ValueError) as error:
        raise NotAnEvent(f"this is no valid CloudEvent: {error}") from error


def _check_required(attributes: Mapping[str, str]) -> None:
    missing = [name for name in _REQUIRED if not attributes.get(name, "").strip()]
    if missing:
        raise NotAnEvent(f"this CloudEvent has no {' and no '.join(missing)}")
    if attributes["specversion"] != "1.0":
        raise NotAnEvent(f"specversion {attributes['specversion']!r} is not 1.0")


def _checked(attributes: Mapping[str, Any], data: bytes) -> Event:
    texts: dict[str, str] = {}
    for name, value in attributes.items():
        if value is None:
            continue
        if not _NAME.fullmatch(name):
            raise NotAnEvent(f"the attribute name {name[:80]!r} is not lower-case letters and digits")
        if name == "time":
            if not isinstance(value, datetime) or value.tzinfo is None:
                raise NotAnEvent("time is RFC 3339 with an offset, such as 2026-01-31T12:00:00Z")
            value = rfc3339(value)  # noqa: PLW2901 - from here on it is text, like the others.
        text = str(value)
        if len(text.encode(errors="surrogatepass")) > _VALUE_BYTES_MAX:
            raise NotAnEvent(f"the attribute {name} is longer than {_VALUE_BYTES_MAX} bytes")
        if _UNFIT.search(text) is not None:
            raise NotAnEvent(f"the attribute {name} has characters that no attribute may have")
        texts[name] = text
    return Event.of_attributes(texts, data)


def _canonical(name: str, value: object) -> str:
    """An attribute's canonical text (CloudEvents 1.0, section "Type System")."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise NotAnEvent(f"the attribute {name[:80]!r} is neither text, whole number nor boolean")


def _data(data: object, encoded: object, content_type: str | None) -> bytes:
    if encoded is not None:
        try:
            return base64.b64decode(str(encoded), validate=True)
        except (binascii.Error, ValueError) as error:
            raise NotAnEvent("data_base64 is not Base64") from error
    if data is None:
        return b""
    if isinstance(data, str) and not is_json(content_type):
        return data.encode()
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
