"""The Broker as it is run: its process, a real nats-server or rabbitmq-server, real subscribers over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
import yaml

from eventing.attempts import decode
from eventing.event import Event
from eventing.publisher import Publisher
from knative.runtime import child
from tests.servers import quiet

_namespaces = count()
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/wake/orders", "ce-type": "orders.placed.v1"}
both = pytest.mark.parametrize("channel_url", ["nats_url", "rabbitmq_url"], indirect=True)
QUICK = {"retry": 2, "backoffPolicy": "exponential", "backoffDelay": "PT0.01S"}


@dataclass
class Subscriber:
    """An HTTP server that answers what it was told, then 204, and remembers what came."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    # Closed, it lets requests come and answers none.
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests on one connection."""
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:] if line}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append((headers, body))
            await self.open.wait()
            status, extra, content = self.answers.pop(0) if self.answers else (204, {}, b"")
            lines = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
            length = "" if status == 204 else f"content-length: {len(content)}\r\n"
            writer.write(f"HTTP/1.1 {status} X\r\n{lines}{length}\r\n".encode() + content)

    async def until(self, number: int) -> list[tuple[dict[str, str], bytes]]:
        """Wait for so many requests."""
        async with asyncio.timeout(20):
            while len(self.requests) < number:
                await asyncio.sleep(0.002)
        return self.requests


@dataclass
class Running:
    """A Broker process."""

    url: str
    process: asyncio.subprocess.Process
    manifest: Path
    journal: Path
    client: httpx.AsyncClient

    def happenings(self, kind: str) -> list[dict[str, Any]]:
        """What its journal says of a kind."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [one for one in map(json.loads, lines) if one["kind"] == kind]

    async def until_journal(self, kind: str, number: int = 1) -> list[dict[str, Any]]:
        """Wait until the journal has so many of a kind."""
        async with asyncio.timeout(20):
            while len(found := self.happenings(kind)) < number:
                await asyncio.sleep(0.005)
        return found


def documents(namespace: str, *triggers: tuple[str, str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A Broker and its Triggers: name, subscriber, rest of the spec."""
    return [
        {"kind": "Broker", "metadata": {"namespace": namespace, "name": "default"}, "spec": {"delivery": QUICK}},
        *(
            {
                "kind": "Trigger",
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"broker": "default", "subscriber": {"uri": url}, **spec},
            }
            for name, url, spec in triggers
        ),
    ]


@pytest.fixture
async def subscriber() -> AsyncIterator[Callable[[], Any]]:
    """Makes subscribers on free ports."""
    servers = []

    async def make() -> Subscriber:
        one = Subscriber()
        one.open.set()
        server = await asyncio.start_server(quiet(one.take), "127.0.0.1", 0)
        servers.append(server)
        one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        return one

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def channel_url(request: pytest.FixtureRequest) -> str:
    """NATS, or what a test names."""
    return str(request.getfixturevalue(getattr(request, "param", "nats_url")))


@pytest.fixture
async def run(channel_url: str, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts Brokers with these documents; stopped afterwards."""
    started: list[Running] = []

    async def start(*docs: dict[str, Any]) -> Running:
        port = child.free_port()
        manifest, journal = tmp_path / f"broker{port}.yaml", tmp_path / f"journal{port}.jsonl"
        manifest.write_text(yaml.safe_dump_all(docs))
        namespace = docs[0]["metadata"]["namespace"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "eventing.broker",
            *(f"--manifest={manifest}", f"--port={port}", f"--journal={journal}"),
            env={**os.environ, "CHANNEL_URL": channel_url, "CHANNEL_SETTLE_SECONDS": "0"},
        )
        async with asyncio.timeout(20):
            while not child.accepts("127.0.0.1", port):
                await asyncio.sleep(0.01)
        client = httpx.AsyncClient()
        started.append(Running(f"http://127.0.0.1:{port}/{namespace}/default", process, manifest, journal, client))
        return started[-1]

    yield start
    for one in started:
        await one.client.aclose()
        if one.process.returncode is None:
            one.process.kill()
            await one.process.wait()


@pytest.fixture
def namespace() -> str:
    """A namespace, and so streams, of this test's own."""
    return f"broker{next(_namespaces)}"


async def test_an_event_reaches_every_trigger_that_wants_it(run: Any, subscriber: Any, namespace: str) -> None:
    """202 at the ingress; binary mode, Prefer: reply, no TTL, an arrival time, the same bytes at the subscriber."""
    wanted, other = await subscriber(), await subscriber()
    broker = await run(
        *documents(
            namespace,
            ("a", wanted.url, {"filter": {"attributes": {"type": "orders.placed.v1"}}}),
            ("b", other.url, {"filters": [{"prefix": {"type": "users."}}]}),
        )
    )
    answer = await broker.client.post(
        broker.url, content=b'{"a": 1.0}', headers={**EVENT, "content-type": "application/json"}
    )
    ((headers, body),) = await wanted.until(1)

    assert (answer.status_code, answer.content) == (202, b"")
    assert (
        body,
        headers["ce-id"],
        headers["content-type"],
        headers["prefer"],
    ) == (b'{"a": 1.0}', "1", "application/json", "reply")
    assert "ce-knativebrokerttl" not in headers
    assert "ce-knativearrivaltime" in headers
    assert other.requests == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "", {}, 400),
        ("POST", "", {**EVENT, "ce-id": ""}, 400),
        ("POST", "", {**EVENT, "ce-knativebrokerttl": "1"}, 400),
        ("POST", "", {**EVENT, "ce-knativebrokerttl": "%C2%B2"}, 400),
        ("POST", "", {**EVENT, "ce-knativebrokerttl": "9" * 1000}, 202),
        ("POST", "", {"content-type": "application/cloudevents-batch+json"}, 415),
        ("GET", "", {}, 405),
        ("OPTIONS", "", {}, 200),
        ("POST", "x", EVENT, 404),
    ],
)
async def test_the_ingress_answers_as_knative_s(
    run: Any, namespace: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Status by status."""
    broker = await run(*documents(namespace))

    assert (await broker.client.request(method, broker.url + path, headers=headers)).status_code == status
    assert (await broker.client.post(broker.url.rsplit("/", 2)[0] + "/", headers=EVENT)).status_code == 404


@both
async def test_what_fails_is_tried_again_and_then_dead_lettered(run: Any, subscriber: Any, namespace: str) -> None:
    """Three attempts with back-off; the dead letter says where, how and what was answered."""
    failing, sink = await subscriber(), await subscriber()
    failing.answers = [(503, {}, b"no database")] * 3
    delivery = {**QUICK, "deadLetterSink": {"uri": sink.url}}
    broker = await run(*documents(namespace, ("a", failing.url, {"delivery": delivery})))
    await broker.client.post(broker.url, content=b"{}", headers=EVENT)
    ((headers, body),) = await sink.until(1)
    waits = [one.get("retry_in_seconds") for one in broker.happenings("failed")]

    assert (len(failing.requests), body, headers["ce-id"]) == (3, b"{}", "1")
    assert (failing.url, "503") == (headers["ce-knativeerrordest"].replace("%3A", ":"), headers["ce-knativeerrorcode"])
    assert base64.b64decode(headers["ce-knativeerrordata"]) == b"no database"
    assert waits == [0.01, 0.02, None]


async def test_a_dead_letter_tells_of_every_attempt(run: Any, subscriber: Any, namespace: str) -> None:
    """Number, time, code and answer of each; what the event itself claims of them is overwritten."""
    failing, sink = await subscriber(), await subscriber()
    failing.answers = [(503, {}, b"no database"), (500, {}, b"a bug"), (503, {}, b"no database")]
    delivery = {**QUICK, "deadLetterSink": {"uri": sink.url}}
    broker = await run(*documents(namespace, ("a", failing.url, {"delivery": delivery})))
    forged = {"ce-wakeattempts": "[]", "ce-knativeerrordest": "http://169.254.169.254/"}
    await broker.client.post(broker.url, content=b"{}", headers={**EVENT, **forged})
    ((headers, _),) = await sink.until(1)
    told = decode(unquote(headers["ce-wakeattempts"]))

    assert [(one.number, one.status, one.answer) for one in told] == [
        (1, 503, "no database"),
        (2, 500, "a bug"),
        (3, 503, "no database"),
    ]
    assert unquote(headers["ce-knativeerrordest"]) == failing.url


async def test_what_a_killed_broker_tried_is_counted(run: Any, subscriber: Any, namespace: str) -> None:
    """Its numbers are missing from the history of the next one."""
    failing, sink = await subscriber(), await subscriber()
    failing.answers = [(503, {}, b"")] * 3
    delivery = {**QUICK, "backoffDelay": "PT0.5S", "deadLetterSink": {"uri": sink.url}}
    docs = documents(namespace, ("a", failing.url, {"delivery": delivery}))
    first = await run(*docs)
    await first.client.post(first.url, content=b"{}", headers=EVENT)
    await first.until_journal("failed")
    first.process.kill()
    await first.process.wait()
    await run(*docs)
    ((headers, _),) = await sink.until(1)

    assert [one.number for one in decode(unquote(headers["ce-wakeattempts"]))] == [2, 3]


async def test_a_4xx_is_dead_lettered_at_once(run: Any, subscriber: Any, namespace: str) -> None:
    """Another attempt would end the same."""
    failing, sink = await subscriber(), await subscriber()
    failing.answers = [(422, {}, b"")]
    delivery = {**QUICK, "deadLetterSink": {"uri": sink.url}}
    broker = await run(*documents(namespace, ("a", failing.url, {"delivery": delivery})))
    await broker.client.post(broker.url, content=b"{}", headers=EVENT)
    await sink.until(1)

    assert len(failing.requests) == 1


async def test_a_body_that_is_no_event_is_a_failed_delivery(run: Any, subscriber: Any, namespace: str) -> None:
    """FastAPI's `return {...}`: retried, as behind a Knative Broker."""
    plain = await subscriber()
    plain.answers = [(200, {"content-type": "application/json"}, b'{"ok": true}')]
    broker = await run(*documents(namespace, ("a", plain.url, {})))
    await broker.client.post(broker.url, content=b"{}", headers=EVENT)
    await plain.until(2)
    (failed,) = await broker.until_journal("failed")

    assert (failed["status"], failed["reason"]) == (502, "it answered 200 with a body that is no event")


async def test_a_reply_goes_back_into_the_broker(run: Any, subscriber: Any, namespace: str) -> None:
    """And wakes the Triggers that want it."""
    first, second = await subscriber(), await subscriber()
    reply = {**EVENT, "ce-id": "2", "ce-type": "orders.answered.v1"}
    first.answers = [(200, reply, b"pong")]
    exact = {"filter": {"attributes": {"type": "orders.placed.v1"}}}
    answered = {"filter": {"attributes": {"type": "orders.answered.v1"}}}
    broker = await run(*documents(namespace, ("a", first.url, exact), ("b", second.url, answered)))
    await broker.client.post(broker.url, content=b"{}", headers=EVENT)
    ((headers, body),) = await second.until(1)

    assert (headers["ce-id"], body) == ("2", b"pong")


async def test_a_poison_event_holds_up_no_other(run: Any, subscriber: Any, namespace: str) -> None:
    """One that waits long for its next attempt, and two hundred that are delivered meanwhile."""
    one = await subscriber()
    one.answers = [(500, {}, b"")]
    delivery = {"retry": 5, "backoffPolicy": "exponential", "backoffDelay": "PT30S"}
    broker = await run(*documents(namespace, ("a", one.url, {"delivery": delivery})))
    await broker.client.post(broker.url, content=b"{}", headers=EVENT)
    await one.until(1)
    for number in range(2, 202):
        await broker.client.post(broker.url, content=b"{}", headers={**EVENT, "ce-id": str(number)})
    await one.until(201)

    assert len(broker.happenings("dead-lettered")) == 0


async def test_a_dead_letter_sink_that_is_away_loses_nothing(run: Any, subscriber: Any, namespace: str) -> None:
    """The event stays until the sink takes it."""
    failing, sink = await subscriber(), await subscriber()
    failing.answers = [(422, {}, b"")] * 5
    sink.answers = [(503, {}, b"")]
    delivery = {**QUICK, "deadLetterSink": {"uri": sink.url}}
    broker = await run(*documents(namespace, ("a", failing.url, {"delivery": delivery})))
    await broker.client.post(broker.url, content=b"{}", headers=EVENT)
    await sink.until(2)

    assert len(await broker.until_journal("dead-lettered")) == 1


@both
async def test_killed_in_the_middle_it_delivers_after_its_restart(run: Any, subscriber: Any, namespace: str) -> None:
    """kill -9 while an event waits for its next attempt: the next Broker makes that attempt."""
    one = await subscriber()
    one.answers = [(503, {}, b"")]
    docs = documents(namespace, ("a", one.url, {"delivery": {**QUICK, "backoffDelay": "PT1S"}}))
    first = await run(*docs)
    await first.client.post(first.url, content=b"{}", headers=EVENT)
    await first.until_journal("failed")
    first.process.kill()
    await first.process.wait()
    second = await run(*docs)
    await one.until(2)
    (delivered,) = await second.until_journal("delivered")

    assert delivered["attempt"] == 2


@pytest.mark.parametrize("part", [b"", b'{"order_id": '])
async def test_an_event_that_was_cut_off_is_not_taken_for_a_whole_one(
    run: Any, subscriber: Any, namespace: str, part: bytes
) -> None:
    """Its sender was killed while it sent: the same event comes again, whole, and is no repetition."""
    one = await subscriber()
    broker = await run(*documents(namespace, ("a", one.url, {"delivery": QUICK})))
    where = urlsplit(broker.url)
    head = "".join(
        f"{name}: {value}\r\n" for name, value in {**EVENT, "host": "broker", "content-length": "20"}.items()
    )
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(f"POST {where.path} HTTP/1.1\r\n{head}\r\n".encode() + part)
    await writer.drain()
    # The Broker has begun to read it when it answers somebody who came later.
    assert (await broker.client.get(broker.url)).status_code == 405
    writer.transport.abort()
    answer = await broker.client.post(broker.url, content=b'{"whole": true}', headers=EVENT)
    await one.until(1)

    assert answer.status_code == 202
    assert [body for _, body in one.requests] == [b'{"whole": true}']


@both
async def test_sighup_takes_a_new_trigger_and_keeps_the_last_good_file(
    run: Any, subscriber: Any, namespace: str
) -> None:
    """A broken file changes nothing; a good one is in force at once."""
    one = await subscriber()
    broker = await run(*documents(namespace))
    broker.manifest.write_text("kind: Trigger")
    broker.process.send_signal(signal.SIGHUP)
    broker.manifest.write_text(yaml.safe_dump_all(documents(namespace, ("a", one.url, {}))))
    broker.process.send_signal(signal.SIGHUP)
    number = 0
    async with asyncio.timeout(20):
        while not one.requests:
            number += 1
            await broker.client.post(broker.url, content=b"{}", headers={**EVENT, "ce-id": str(number)})
            await asyncio.sleep(0.02)


async def test_sigterm_finishes_what_is_in_hand(run: Any, subscriber: Any, namespace: str) -> None:
    """Exit code 0."""
    one = await subscriber()
    broker = await run(*documents(namespace, ("a", one.url, {})))
    await broker.client.post(broker.url, content=b"{}", headers=EVENT)
    await one.until(1)
    broker.process.send_signal(signal.SIGTERM)

    assert await asyncio.wait_for(broker.process.wait(), 10) == 0


def channel(namespace: str, *subscriptions: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A Channel and its Subscriptions: name and spec."""
    reference = {"name": "default", "kind": "Channel"}
    return [
        {"kind": "Channel", "metadata": {"namespace": namespace, "name": "default"}, "spec": {"delivery": QUICK}},
        *(
            {
                "kind": "Subscription",
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"channel": reference, **spec},
            }
            for name, spec in subscriptions
        ),
    ]


async def test_a_channel_delivers_to_every_subscription(run: Any, subscriber: Any, namespace: str) -> None:
    """As it came, without TTL or arrival time; a body that is no event is thrown away, a reply goes on."""
    first, second, reply = await subscriber(), await subscriber(), await subscriber()
    first.answers = [(200, {"content-type": "text/plain"}, b"thanks")]
    second.answers = [(200, {**EVENT, "ce-id": "reply", "ce-type": "answered.v1"}, b"")]
    running = await run(
        *channel(
            namespace,
            ("a", {"subscriber": {"uri": first.url}}),
            ("b", {"subscriber": {"uri": second.url}, "reply": {"uri": reply.url}}),
            ("c", {"reply": {"uri": reply.url}}),
        )
    )
    url = running.url.replace(f"/{namespace}/default", f"/{namespace}/channels/default")
    assert (await running.client.post(url, headers=EVENT)).status_code == 202
    replied = await reply.until(2)
    ((headers, _),) = await first.until(1)

    assert {one["ce-id"] for one, _ in replied} == {"reply", "1"}
    assert not {"ce-knativebrokerttl", "ce-knativearrivaltime"} & headers.keys()
    assert len(await running.until_journal("delivered", 3)) == 3


async def test_structured_mode_is_sent_where_it_is_asked_for(run: Any, subscriber: Any, namespace: str) -> None:
    """delivery.format: json."""
    one = await subscriber()
    running = await run(
        *documents(namespace, ("a", one.url, {"delivery": {**QUICK, "format": "json"}})),
    )
    await running.client.post(running.url, headers={**EVENT, "content-type": "application/json"}, content=b'{"a": 1}')
    ((headers, body),) = await one.until(1)

    assert headers["content-type"] == "application/cloudevents+json"
    assert json.loads(body)["data"] == {"a": 1}


async def test_events_of_a_subject_come_in_order_where_the_trigger_asks_for_it(
    run: Any, subscriber: Any, namespace: str
) -> None:
    """Knative's own annotation; one that fails holds up its own subject only."""
    one = await subscriber()
    one.answers = [(503, {}, b"")]
    docs = documents(namespace, ("a", one.url, {"delivery": {**QUICK, "backoffDelay": "PT0.3S"}}))
    docs[1]["metadata"]["annotations"] = {"kafka.eventing.knative.dev/delivery.order": "ordered"}
    broker = await run(*docs)
    for name, about in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b")):
        headers = {**EVENT, "ce-id": name, "ce-subject": about}
        assert (await broker.client.post(broker.url, content=b"{}", headers=headers)).status_code == 202
    came = [headers["ce-id"] for headers, _ in await one.until(6)]

    assert [name for name in came if name[0] == "a"] == ["a1", "a1", "a2", "a3"]
    assert came.index("b2") < came.index("a2")


@both
async def test_two_copies_share_the_work(run: Any, subscriber: Any, namespace: str) -> None:
    """Each event is delivered once, by one or the other."""
    one = await subscriber()
    docs = documents(namespace, ("a", one.url, {}))
    copies = [await run(*docs) for _ in range(2)]
    for number in range(60):
        copy = copies[number % 2]
        await copy.client.post(copy.url, content=b"{}", headers={**EVENT, "ce-id": str(number)})
    await one.until(60)

    assert sorted(int(headers["ce-id"]) for headers, _ in one.requests) == list(range(60))
    for copy in copies:
        assert await copy.until_journal("delivered")


@both
async def test_a_publisher_reaches_the_broker_through_the_channel_alone(
    run: Any, subscriber: Any, namespace: str, channel_url: str
) -> None:
    """nats:// and amqp:// as K_SINK: into the stream or exchange that the Broker delivers from."""
    one = await subscriber()
    await run(*documents(namespace, ("a", one.url, {})))
    publisher = Publisher(f"{channel_url}?broker={namespace}/default", {"team": "shop"})
    await publisher.publish(Event(id="1", source="/x", type="t", data=b"{}"))
    await publisher.close()
    ((headers, body),) = await one.until(1)

    assert (headers["ce-id"], headers["ce-team"], body) == ("1", "shop", b"{}")


BROKER_AND = "{kind: Broker, metadata: {name: b}}\n---\n{kind: Trigger, metadata: {name: t}, spec: "


@pytest.mark.parametrize(
    ("variables", "manifest", "words"),
    [
        ({"CHANNEL_URL": "kafka://secret@host"}, "[]", "a channel's URL is nats://"),
        ({"CHANNEL_CONCURRENCY": "many"}, "[]", "CHANNEL_CONCURRENCY is a whole number"),
        ({"CHANNEL_URL": "nats://user:secret/@host"}, "[]", "percent-encoded"),
        ({"PORT": "99999"}, "[]", "'99999' is no port"),
        ({}, "kind: [", "broker.yaml is no YAML: "),
        ({}, "[{kind: Trigger}]", "no Kubernetes object"),
        ({}, BROKER_AND + "{broker: b, filtre: {}, subscriber: {uri: 'http://h/'}}}", "has no field filtre"),
        ({}, BROKER_AND + "{broker: b, subscriber: {uri: '127.0.0.1'}}}", "subscriber.uri is an http(s) URL"),
        ({}, "{kind: Trigger, metadata: {name: t}, spec: {broker: b}}", "there is no Broker default/b"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, variables: dict[str, str], manifest: str, words: str
) -> None:
    """It ends at once, with no traceback and no secret."""
    (tmp_path / "broker.yaml").write_text(manifest)
    command = [sys.executable, "-m", "eventing.broker", f"--manifest={tmp_path}/broker.yaml"]
    surroundings = {**os.environ, "PORT": "0", **variables}
    ended = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)

    assert (ended.returncode in {1, 2}, words in ended.stderr) == (True, True), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """Before anything is connected."""
    (tmp_path / "broker.yaml").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "eventing.broker", f"--manifest={tmp_path}/broker.yaml", f"--port={port}"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.stderr.startswith(f"Port {port} on 127.0.0.1 cannot be listened on")


@both
async def test_a_full_channel_is_a_503_and_what_was_taken_is_delivered(
    run: Any, subscriber: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Retry-After, whatever it is that is full."""
    monkeypatch.setenv("CHANNEL_MAX_BYTES", "60000")
    monkeypatch.setenv("CHANNEL_CONCURRENCY", "1")
    one = await subscriber()
    one.open.clear()
    broker = await run(*documents(namespace, ("a", one.url, {})))
    taken, status = 0, 202
    while status == 202 and taken < 200:
        answer = await broker.client.post(broker.url, content=b"x" * 9000, headers={**EVENT, "ce-id": str(taken)})
        status = answer.status_code
        taken += status == 202

    one.open.set()
    await one.until(taken)

    assert (status, answer.headers.get("retry-after")) == (503, "5")
    assert {str(number) for number in range(taken)} <= {headers["ce-id"] for headers, _ in one.requests}


@both
async def test_prometheus_is_told_what_became_of_events_and_what_waits(
    run: Callable[..., Any], subscriber: Callable[[], Any], namespace: str
) -> None:
    """Accepted, delivered, failed, and what is in hand or waits; not through a gateway."""
    good, stuck = await subscriber(), await subscriber()
    stuck.answers = [(500, {}, b"")] * 3
    broker = await run(*documents(namespace, ("good", good.url, {}), ("stuck", stuck.url, {})))
    await broker.client.post(broker.url, headers=EVENT)
    await broker.until_journal("dropped")
    await broker.until_journal("delivered")
    url = f"{broker.url.removesuffix(f'/{namespace}/default')}/metrics"
    told = (await broker.client.get(url)).text
    outside = await broker.client.get(url, headers={"x-forwarded-for": "192.0.2.1"})
    me = f'broker="{namespace}/default"'

    assert f"wake_broker_accepted_total{{{me}}} 1\n" in told
    assert f'wake_trigger_events_total{{{me},trigger="good",what="delivered"}} 1\n' in told
    assert f'wake_trigger_events_total{{{me},trigger="stuck",what="failed"}} 3\n' in told
    assert f'wake_trigger_events_total{{{me},trigger="stuck",what="dropped"}} 1\n' in told
    assert f'wake_channel_up{{{me},trigger="good"}} 1\n' in told
    assert f'wake_trigger_waiting_events{{{me},trigger="good"}} 0\n' in told
    assert outside.status_code == 404
