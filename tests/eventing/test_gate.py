"""What is an event and what is not."""

from __future__ import annotations

import base64
import json
from datetime import UTC
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from eventing.event import Event, RawData, new_id, to_binary, to_json, to_structured
from eventing.gate import NotAnEvent, from_json, receive

REQUIRED = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/wake/orders", "ce-type": "orders.placed.v1"}
STRUCTURED = {"specversion": "1.0", "id": "1", "source": "/wake/orders", "type": "orders.placed.v1"}


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as a server has them."""
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def structured(members: Any) -> Event:
    """What a structured message is received as."""
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    return receive([(b"content-type", b"application/cloudevents+json; charset=utf-8")], body)


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda name: (
        name not in {"data", "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}
    )
)
texts = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"], exclude_characters="\ufffd"),
    min_size=1,
    max_size=60,
).map(lambda text: text.strip() or "x")
events = st.builds(
    Event,
    id=texts,
    source=texts,
    type=texts,
    subject=st.none() | texts,
    time=st.none() | st.datetimes(timezones=st.timezones()).filter(lambda when: when.year > 1),
    datacontenttype=st.just("application/octet-stream"),
    extensions=st.dictionaries(names, texts, max_size=4),
    data=st.binary(max_size=200),
)


@given(events)
def test_binary_mode_is_what_the_sdk_writes(event: Event) -> None:
    """To the letter, but for the time that the SDK gives an event which has none."""
    attributes: dict[str, Any] = event.attributes
    if event.time is not None:
        attributes["time"] = event.time.astimezone(UTC)
    sdk = to_binary_event(CloudEvent(attributes, event.data), RawData())
    headers, body = to_binary(event)

    assert headers == {
        name: value for name, value in sdk.headers.items() if name != "ce-time" or event.time is not None
    }
    assert body == sdk.body


@given(events)
def test_an_event_comes_back_as_it_was_sent(event: Event) -> None:
    """Binary and structured: attributes and every byte of data."""
    headers, body = to_binary(event)
    whole_headers, whole = to_structured(event)

    for received in (receive(raw(headers), body), receive(raw(whole_headers), whole)):
        assert received.attributes == event.attributes
        assert received.data == event.data


@given(
    st.binary(max_size=300),
    st.dictionaries(st.sampled_from([*REQUIRED, "content-type", "ce-time", "ce-x"]), st.text(max_size=20)),
)
def test_whatever_arrives_is_an_event_or_refused(body: bytes, headers: dict[str, str]) -> None:
    """Nothing else is raised, so that no bytes can make a 500."""
    pairs = [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers.items()]
    try:
        received = receive(pairs, body)
    except NotAnEvent as refused:
        assert refused.status in {400, 415}
    else:
        assert received.id
        assert received.source


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_required_attribute_is_never_invented(missing: str) -> None:
    """Also empty is missing; in both modes."""
    with pytest.raises(NotAnEvent, match=missing[3:]):
        receive(raw({name: value for name, value in REQUIRED.items() if name != missing}), b"")
    with pytest.raises(NotAnEvent, match=missing[3:]):
        receive(raw({**REQUIRED, missing: "  "}), b"")
    with pytest.raises(NotAnEvent, match=missing[3:]):
        structured({name: value for name, value in STRUCTURED.items() if name != missing[3:]})


def test_headers_do_not_rename_a_structured_event() -> None:
    """Content-Type alone decides the mode."""
    headers = {"content-type": "application/cloudevents+json", "ce-id": "smuggled", "ce-source": "/evil"}
    received = receive(raw(headers), json.dumps(STRUCTURED).encode())

    assert (received.id, received.source) == ("1", "/wake/orders")


def test_no_time_stays_no_time() -> None:
    """The SDK would say now, another at each delivery."""
    assert receive(raw(REQUIRED), b"").time is None
    assert "ce-time" not in to_binary(receive(raw(REQUIRED), b""))[0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**REQUIRED, "ce-specversion": "0.3"}, 400),
        ({**REQUIRED, "ce-datacontenttype": "text/plain"}, 400),
        ({**REQUIRED, "ce-time": "yesterday"}, 400),
        ({**REQUIRED, "ce-time": "2026-01-01T00:00:00"}, 400),
        ({**REQUIRED, "ce-partition-key": "x"}, 400),
        ({**REQUIRED, "ce-x": "%zz"}, 400),
        ({**REQUIRED, "ce-x": "%00"}, 400),
        ({**REQUIRED, "ce-x": "%ff"}, 400),
        ({**REQUIRED, "ce-id": "x" * 2000}, 400),
        ({"content-type": "application/json"}, 400),
        ({"content-type": "application/cloudevents-batch+json"}, 415),
        ({"content-type": "application/cloudevents+avro"}, 415),
    ],
)
def test_what_knative_would_refuse_is_refused(headers: dict[str, str], status: int) -> None:
    """With a sentence, and the status that says whether it is the format or the event."""
    with pytest.raises(NotAnEvent) as refused:
        receive(raw(headers), b"{}")

    assert refused.value.status == status


def test_a_header_that_comes_twice_is_refused() -> None:
    """One of the two would win here and perhaps the other elsewhere."""
    with pytest.raises(NotAnEvent, match="twice"):
        receive([*raw(REQUIRED), (b"CE-ID", b"2")], b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"specversion":"1.0","id":"1","id":"2","source":"/x","type":"t"}',
        b'{"specversion":"1.0","id":"1","source":"/x","type":"t","data":NaN}',
        b'{"specversion":"1.0","id":"1","source":"/x","type":"t","data":1e999}',
        b'{"specversion":"1.0","id":"1","source":"/x","type":"t","data_base64":"*"}',
        b'{"specversion":"1.0","id":"1","source":"/x","type":"t","data":1,"data_base64":"MQ=="}',
        b'{"specversion":"1.0","id":"1","source":"/x","type":"t","foo\\n":"a name that ends a line of HTTP"}',
        b'{"specversion":"1.0","id":{"a":1},"source":"/x","type":"t"}',
        b'{"specversion":"1.0","id":"1","source":"/x","type":"t","data":' + b"[" * 500 + b"]" * 500 + b"}",
    ],
)
def test_a_structured_event_is_strict_json(body: bytes) -> None:
    """Repeated names, NaN, what no double holds, what is nested too deep."""
    with pytest.raises(NotAnEvent):
        from_json(body)


def test_extensions_have_their_canonical_text() -> None:
    """true and 5, not True and "5"."""
    received = structured({**STRUCTURED, "sampled": True, "sequence": 5, "nothing": None})

    assert received.extensions == {"sampled": "true", "sequence": "5"}


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        ({"a": 1}, None, {"data": {"a": 1}}),
        ("text", "text/plain", {"data_base64": base64.b64encode(b"text").decode()}),
        ("text", "application/json", {"data": "text"}),
    ],
)
def test_data_keeps_its_meaning_through_json(data: Any, content_type: str | None, expected: dict[str, Any]) -> None:
    """JSON stays JSON, anything else goes as Base64."""
    members = {**STRUCTURED, "data": data} | ({} if content_type is None else {"datacontenttype": content_type})

    assert expected.items() <= json.loads(to_json(structured(members))).items()


def test_ids_sort_by_their_time() -> None:
    """UUIDv7: version 7, variant 2, in the order they were made (to the millisecond)."""
    made = [new_id() for _ in range(50)]

    assert len(set(made)) == 50
    assert all(one[14] == "7" and one[19] in "89ab" for one in made)
    assert [one[:13] for one in made] == sorted(one[:13] for one in made)
