"""Events out to an EventBridge bus: how a request is signed, what is put, and what an answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from eventing.event import Event
from eventing.eventbridge import Bus, entry, refusal
from eventing.gate import from_json
from eventing.publisher import Publisher, PublishFailed
from eventing.sigv4 import Credentials, signed

# The key of AWS' own examples.
KEY = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SAMPLES = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
EVENT = Event(id="1", source="/wake/orders", type="orders.placed.v1", subject="ö", data=b'{"a": 1.0, "b": [ ]}')


def signature(headers: dict[str, str]) -> str:
    """What proves the request."""
    return headers["authorization"].rpartition("Signature=")[2]


def test_aws_own_signatures_come_out() -> None:
    """Of its test suite (get-vanilla), of its documentation (IAM ListUsers), and, for a role's token, botocore's."""
    vanilla = signed(
        "example.amazonaws.com", {}, b"", KEY, region="us-east-1", service="service", now=SAMPLES, method="GET"
    )
    users = signed(
        "iam.amazonaws.com",
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"",
        KEY,
        region="us-east-1",
        service="iam",
        now=SAMPLES,
        method="GET",
        query="Action=ListUsers&Version=2010-05-08",
    )
    put = signed(
        "events.eu-central-1.amazonaws.com",
        {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AWSEvents.PutEvents"},
        b'{"Entries":[]}',
        Credentials(KEY.key_id, KEY.secret, "TOKEN/+="),
        region="eu-central-1",
        service="events",
        now=datetime(2026, 11, 25, 9, 12, 3, tzinfo=UTC),
    )

    assert signature(vanilla) == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    assert signature(users) == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    assert signature(put) == "b50f191f5de88c00fab9ca1917d04214f28c9fc3b1e361ce1d67d10cb680d209"


def test_an_event_is_itself_again_on_the_other_side() -> None:
    """To the byte, whatever EventBridge makes of JSON; and rules see its attributes."""
    put = entry(EVENT, "wake")
    detail = json.loads(put["Detail"])

    assert from_json(json.dumps(detail, indent=3, sort_keys=True).encode()) == EVENT
    assert (put["EventBusName"], put["DetailType"], detail["type"]) == ("wake", "orders.placed.v1", "orders.placed.v1")


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (200, b'{"FailedEntryCount":0,"Entries":[{"EventId":"11710aed"}]}', None),
        (
            200,
            b'{"FailedEntryCount":1,"Entries":[{"ErrorCode":"InternalFailure","ErrorMessage":"again"}]}',
            "200 InternalFailure again",
        ),
        (400, b'{"__type":"com.amazon.coral#ThrottlingException","message":"slow"}', "400 ThrottlingException slow"),
        (200, b"{}", "200"),
        (503, b"<html>", "503: <html>"),
        (200, b"[]", "200: []"),
    ],
)
def test_only_an_id_says_that_an_event_was_taken(status: int, content: bytes, reason: str | None) -> None:
    """PutEvents answers 200 also where it took nothing."""
    assert refusal(status, content) == reason


def test_what_was_signed_is_not_repeated() -> None:
    """Where a signature does not fit AWS shows it, with the session's token; a reason goes into log and outbox."""
    message = (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access"
        " Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for this"
        " request should have been\n'POST\n/\n\nhost:events\nx-amz-security-token:the-session\n"
    )
    content = json.dumps({"__type": "InvalidSignatureException", "message": message}).encode()

    told = refusal(403, content)
    assert told is not None
    assert told.startswith("403 InvalidSignatureException The request signature we calculated does not match")
    assert "the-session" not in told


@contextmanager
def endpoint(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[tuple[dict[str, str], Any]]]]:
    """A server that answers as PutEvents does; its URL, and what came."""
    requests: list[tuple[dict[str, str], Any]] = []
    waiting = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            requests.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(content)))
            status, answer = waiting.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lambda gives a function."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY.secret)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")


async def test_a_sink_may_be_a_bus(role: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One signed call of PutEvents an event; what was not taken has failed, and stays in the outbox."""
    taken = b'{"FailedEntryCount":0,"Entries":[{"EventId":"11710aed"}]}'
    with endpoint((200, taken), (400, b'{"__type":"x#ThrottlingException","message":"slow"}')) as (url, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        publisher = Publisher("eventbridge://Wake-default")
        await publisher.publish(EVENT)
        with pytest.raises(PublishFailed, match="answered 400 ThrottlingException slow"):
            await publisher.publish(EVENT)
        await publisher.close()
    (headers, body), _ = requests

    assert headers["x-amz-target"] == "AWSEvents.PutEvents"
    assert headers["x-amz-security-token"] == "token"
    assert "Credential=AKIDEXAMPLE/" in headers["authorization"]
    assert "/eu-central-1/events/aws4_request" in headers["authorization"]
    assert body == {"Entries": [entry(EVENT, "Wake-default")]}


async def test_a_bus_that_cannot_be_reached_has_failed(role: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so has one for which there are no credentials."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:9")
    publisher = Publisher("eventbridge://wake")
    with pytest.raises(PublishFailed, match=r"127\.0\.0\.1:9"):
        await publisher.publish(EVENT)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(PublishFailed, match="AWS_ACCESS_KEY_ID is not set"):
        await publisher.publish(EVENT)
    await publisher.close()


@pytest.mark.parametrize(
    ("sink", "environ", "reason"),
    [
        ("eventbridge://", {"AWS_REGION": "eu-central-1"}, "a bus is eventbridge://NAME"),
        ("eventbridge://a/b", {"AWS_REGION": "eu-central-1"}, "a bus is eventbridge://NAME"),
        ("eventbridge://a", {}, "AWS_REGION is not set"),
    ],
)
def test_a_bus_has_a_name_and_a_region(sink: str, environ: dict[str, str], reason: str) -> None:
    """Or the function does not start."""
    with pytest.raises(ValueError, match=reason):
        Bus(sink, environ)
