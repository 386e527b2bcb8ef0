"""The client that deliveries go out with, against servers that answer what they are told, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventing.http1 import Client, NoAnswer, _request, _route
from tests.servers import quiet

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Server:
    """Answers each request with the next of its answers; None closes the connection instead."""

    def __init__(self, *answers: bytes | None, after: bytes | None = OK) -> None:
        self.answers = list(answers)
        self.after = after
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Client]:
        """A client, while it listens."""
        async with await asyncio.start_server(quiet(self._serve), "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/path?a=1"
            client = Client()
            yield client
            await client.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().rpartition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            answer = self.answers.pop(0) if self.answers else self.after
            if answer is None:
                return
            writer.write(answer)
            if b"connection: close" in answer or b"HTTP/1.0" in answer:
                await writer.drain()
                return


async def test_a_connection_is_used_again() -> None:
    """Two posts, one connection; the request is as it should be."""
    server = Server()
    async with server.listening() as client:
        for _ in range(2):
            answer = await client.post(server.url, {"ce-id": "1"}, b"body", 5)

    assert (answer.status, answer.body, server.connections) == (204, b"", 1)
    assert server.requests[0].startswith(b"POST /path?a=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert server.requests[0].endswith(b"ce-id: 1\r\ncontent-length: 4\r\n\r\nbody")


async def test_posts_side_by_side_have_a_connection_each() -> None:
    """Nothing waits for another's answer."""
    server = Server()
    async with server.listening() as client:
        answers = await asyncio.gather(*(client.post(server.url, {}, b"", 5) for _ in range(10)))

    assert {one.status for one in answers} == {204}
    assert server.connections == 10


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", 200, b"ab"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, b"abc"),
        (b"HTTP/1.1 500 Oh\r\nconnection: close\r\n\r\nuntil the end", 500, b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 202 OK\r\ncontent-length: 0\r\n\r\n", 202, b""),
        (b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", 302, b""),
    ],
)
async def test_every_form_of_an_answer_is_read(raw: bytes, status: int, body: bytes) -> None:
    """Lengths, chunks, the end of the connection; hints are passed over, redirects are not followed."""
    server = Server(raw)
    async with server.listening() as client:
        answer = await client.post(server.url, {}, b"", 5)

    assert (answer.status, answer.body, len(server.requests)) == (status, body, 1)


async def test_a_kept_connection_that_was_closed_costs_nothing() -> None:
    """The request goes over a new one."""
    server = Server(OK, None)
    async with server.listening() as client:
        for _ in range(2):
            assert (await client.post(server.url, {}, b"", 5)).status == 204

    assert server.connections == 2


@pytest.mark.parametrize(
    "raw", [None, b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nab"]
)
async def test_what_is_no_answer_is_said(raw: bytes | None) -> None:
    """Closed at once, another protocol, cut in the middle; it is not repeated."""
    server = Server(raw)
    async with server.listening() as client:
        with pytest.raises(NoAnswer, match=r"connection ended|does not answer in HTTP"):
            await client.post(server.url, {}, b"", 5)

    assert len(server.requests) == 1


async def test_an_answer_has_an_end() -> None:
    """A mebibyte is read, of what never stops; the connection is not used again."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    server = Server(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk * 20)
    async with server.listening() as client:
        answer = await client.post(server.url, {}, b"", 5)
        await client.post(server.url, {}, b"", 5)

    assert (len(answer.body), server.connections) == (1024 * 1024, 2)


async def test_an_answer_that_takes_too_long_is_a_time_out() -> None:
    """In all, from the connection to the last byte."""
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    async with server.listening() as client:
        with pytest.raises(TimeoutError):
            await client.post(server.url, {}, b"", 0.05)


async def test_nobody_there_is_said_with_the_address() -> None:
    """At once."""
    with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:9"):
        await Client().post("http://127.0.0.1:9/", {}, b"", 5)


@pytest.mark.parametrize("url", ["ftp://host/", "http:///x", "http://host/a b", "http://host:x/", "nonsense"])
async def test_what_is_no_url_is_said(url: str) -> None:
    """Before anything is connected."""
    with pytest.raises(NoAnswer, match="URL"):
        await Client().post(url, {}, b"", 5)


async def test_a_proxy_is_asked_for_what_is_not_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY, with the whole URL; not for NO_PROXY."""
    server = Server()
    async with server.listening() as client:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await client.post("http://orders.shop.svc.cluster.local/", {}, b"", 5)
        await client.post(server.url, {}, b"", 5)

    assert server.requests[0].startswith(
        b"POST http://orders.shop.svc.cluster.local/ HTTP/1.1\r\nhost: orders.shop.svc.cluster.local\r\n"
    )
    assert server.requests[1].startswith(b"POST /path?a=1 ")


@given(st.text())
def test_no_value_writes_a_header_of_its_own(value: str) -> None:
    """Whatever an event brings."""
    sent = _request(_route("http://127.0.0.1/"), {"ce-subject": value}, b"")

    assert sent.partition(b"\r\n\r\n")[0].count(b"\r\n") == 4
    assert sent.count(b"\r\n\r\n") == 1
