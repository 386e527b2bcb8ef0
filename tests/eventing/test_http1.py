"""The client that deliveries go out with, against servers that answer what they are told, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventing.http1 import NoAnswer
from eventing.poster import Poster, encode, route_of
from tests.servers import quiet

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Server:
    """Answers each request with the next of its answers; None closes the connection instead."""

    def __init__(self, *answers: bytes | None, after: bytes | None = OK) -> None:
        self.answers = list(answers)
        self.after = after
        self.requests: list[bytes] = []
        self.connections = 0
        # Bytes of an answer that are written in one go; 0 is all.
        self.at_once = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Poster]:
        """A client, while it listens."""
        async with await asyncio.start_server(quiet(self._serve), "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/path?a=1"
            client = Poster()
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
            for start in range(0, len(answer), self.at_once or len(answer)):
                writer.write(answer[start : start + (self.at_once or len(answer))])
                if self.at_once:
                    await asyncio.sleep(0.001)
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
        with pytest.raises(NoAnswer, match=r"closed the connection|is no HTTP"):
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
        with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s"):
            await client.post(server.url, {}, b"", 0.05)


async def test_nobody_there_is_said_with_the_address() -> None:
    """At once."""
    with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:9"):
        await Poster().post("http://127.0.0.1:9/", {}, b"", 5)


@pytest.mark.parametrize("url", ["ftp://host/", "http:///x", "http://host/a b", "http://host:x/", "nonsense"])
async def test_what_is_no_url_is_said(url: str) -> None:
    """Before anything is connected."""
    with pytest.raises(NoAnswer, match="URL"):
        await Poster().post(url, {}, b"", 5)


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
@example("\r\n")
def test_no_value_writes_a_header_of_its_own(value: str) -> None:
    """Whatever an event brings."""
    route = route_of("http://127.0.0.1/")
    assert route is not None
    sent = encode(route.head, {"ce-subject": value, "ce-a\r\nb": "", "c d": value}, b"")

    assert sent.partition(b"\r\n\r\n")[0].count(b"\r\n") == 5
    assert sent.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n" + b"x-more: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x-more: a\r\n" * 7_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000,
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 3_000,
    ],
)
async def test_a_head_has_an_end(raw: bytes) -> None:
    """Of 64 kibibytes, interim answers included: a subscriber does not decide how much memory we have."""
    server = Server(raw)
    async with server.listening() as client:
        with pytest.raises(NoAnswer, match=r"longer than|is no HTTP"):
            await client.post(server.url, {}, b"", 5)


async def test_a_trailer_has_an_end() -> None:
    """What comes behind a chunked body is counted too, though nobody reads it."""
    server = Server(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: " + b"a" * 1_200_000)
    async with server.listening() as client:
        with pytest.raises(NoAnswer, match=r"around the body|is no HTTP"):
            await client.post(server.url, {}, b"", 5)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 204 X\r\n\r\nHTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 X\r\ncontent-le",
        b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\nrubbish\r\n\r\n",
        b"HTTP/1.1 200 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 200 X\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_an_answer_with_more_behind_it_ends_its_connection(raw: bytes) -> None:
    """What was not asked for would be taken for the answer to the next event."""
    server = Server(raw)
    async with server.listening() as client:
        with contextlib.suppress(NoAnswer):
            assert (await client.post(server.url, {}, b"", 5)).status < 300
        assert (await client.post(server.url, {}, b"", 5)).status == 204

    assert server.connections == 2


async def test_an_answer_that_nobody_asked_for_is_no_answer() -> None:
    """A late second answer, on a connection that waits for its next request."""
    late = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        if not late.is_set():
            late.set()
            await writer.drain()
            writer.write(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with await asyncio.start_server(quiet(serve), "127.0.0.1", 0) as server:
        url, client = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", Poster()
        statuses = [(await client.post(url, {}, b"", 5)).status]
        await late.wait()
        async with asyncio.timeout(5):
            while client.idle:
                await asyncio.sleep(0)
        statuses.append((await client.post(url, {}, b"", 5)).status)
        await client.close()

    assert statuses == [204, 204]


async def test_an_answer_cut_off_by_a_reset_is_none() -> None:
    """Also where only the end of the connection would have ended it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 X\r\n\r\nhalf of i")
        await writer.drain()
        connection = writer.get_extra_info("socket")
        # Closing with no time to linger sends a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with await asyncio.start_server(quiet(serve), "127.0.0.1", 0) as server:
        client = Poster()
        with pytest.raises(NoAnswer, match="closed the connection"):
            await client.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}, b"", 5)


async def test_a_slow_drip_is_a_time_out() -> None:
    """A byte now and then does not make the time longer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in b"HTTP/1.1 200 OK\r\n" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)

    async with await asyncio.start_server(quiet(serve), "127.0.0.1", 0) as server:
        client = Poster()
        with pytest.raises(NoAnswer, match="no answer within"):
            await client.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}, b"", 0.1)


async def test_an_answer_in_single_bytes_is_read() -> None:
    """However it is cut; with a 100 before it that nobody asked for."""
    server = Server(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\nA: b\r\na: c\r\n\r\nabc")
    server.at_once = 1
    async with server.listening() as client:
        answer = await client.post(server.url, {}, b"", 5)
        await client.post(server.url, {}, b"", 5)

    assert (answer.status, answer.headers["a"], answer.body, server.connections) == (200, "b, c", b"abc", 1)


async def test_connections_that_nobody_uses_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that sleeps keeps none."""
    monkeypatch.setattr("eventing.poster._IDLE_SECONDS", 0.02)
    server = Server()
    async with server.listening() as client:
        await client.post(server.url, {}, b"", 5)
        assert client.idle == 1
        async with asyncio.timeout(5):
            while client.idle:
                await asyncio.sleep(0.005)


async def test_a_post_that_is_given_up_leaves_no_connection() -> None:
    """Its answer would come on it later."""
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    async with server.listening() as client:
        posting = asyncio.create_task(client.post(server.url, {}, b"", 5))
        async with asyncio.timeout(5):
            while not server.requests:
                await asyncio.sleep(0.001)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        assert (await client.post(server.url, {}, b"", 5)).status == 204

    assert server.connections == 2


@pytest.mark.parametrize(
    "url", ["https://host/", "http://user:word@host/", "http://höst/", "http://host:0/", "http://host/\x7f"]
)
def test_what_is_not_plain_goes_through_httpx(url: str) -> None:
    """Certificates, passwords and other alphabets are not done twice."""
    assert route_of(url) is None


async def test_httpx_gives_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here for a password."""
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: \xe9\r\n\r\nab")
    async with server.listening() as client:
        answer = await client.post(server.url.replace("//", "//user:word@"), {"ce-id": "1"}, b"body", 5)

    assert (answer.status, answer.headers["x-a"], answer.body) == (200, "\xe9", b"ab")
    assert b"authorization: basic" in server.requests[0].lower()
