"""Calls from function to function over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import correlation
from functions.correlation import Call, Cause
from functions.errors import DeadlineExceeded, Unavailable
from functions.httpcalls import Budget, Peer, bounded_client
from tests.servers import quiet

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def server(*answers: bytes | None, seconds: float = 0.0) -> AsyncIterator[tuple[str, list[str]]]:
    """Gives these answers, one a request, the last for ever (None closes the connection); and what it was sent."""
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
            answer = answers[min(len(heard), len(answers)) - 1]
            if answer is None:
                return
            for byte in answer if seconds else (answer,):
                writer.write(bytes([byte]) if isinstance(byte, int) else byte)
                await writer.drain()
                await asyncio.sleep(seconds)

    async with await asyncio.start_server(quiet(serve), "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", heard


@pytest.fixture(autouse=True)
def _call() -> None:
    correlation.begin(Call())


async def test_the_other_side_is_told_what_the_call_is_part_of_and_how_long_it_has() -> None:
    """One connection for both; the time is the least of its own and what is left."""
    async with server(OK) as (url, heard), Peer(url, timeout_seconds=2.0) as peer:
        correlation.begin(Call(cause=Cause("r-1", traceparent="00-a-b-01"), deadline=time.monotonic() + 0.5))
        await peer.request("GET", "/one")
        correlation.begin(Call())
        answer = await peer.request("GET", "/two")

    milliseconds = [int(text.partition("x-request-timeout-ms: ")[2].partition("\r")[0]) for text in heard]
    assert ("x-request-id: r-1" in heard[0], "traceparent: 00-a-b-01" in heard[0]) == (True, True)
    assert 300 < milliseconds[0] <= 500
    assert (milliseconds[1], answer.text) == (2000, "ok")


@pytest.mark.parametrize(("method", "calls"), [("GET", 2), ("POST", 1)])
async def test_what_broke_is_repeated_where_that_is_safe(method: str, calls: int) -> None:
    """Once, for methods that may be; a POST may have been done."""
    async with server(None) as (url, heard), Peer(url) as peer:
        with pytest.raises(Unavailable):
            await peer.request(method, "/")

        assert len(heard) == calls


async def test_a_peer_in_trouble_is_not_called_twice_as_often() -> None:
    """Of thirty calls that break, the budget lets seven be repeated."""
    async with server(None) as (url, heard), Peer(url) as peer:
        for _ in range(30):
            with pytest.raises(Unavailable):
                await peer.request("GET", "/")

    assert len(heard) == 30 + 7


@given(calls=st.integers(0, 300))
def test_the_budget_is_a_share_of_the_calls(calls: int) -> None:
    """And a few to begin with."""
    budget = Budget(share=0.1, most=5.0)
    spent = 0
    for _ in range(calls):
        budget.earn()
        spent += budget.spend()

    assert spent <= calls * 0.1 + 5


@pytest.mark.parametrize(("left", "error"), [(0.1, DeadlineExceeded), (None, Unavailable)])
async def test_an_answer_that_drips_ends_in_time(left: float | None, error: type[Exception]) -> None:
    """At the deadline of the call, else at the peer's own time-out, though each byte comes soon."""
    async with server(OK, seconds=0.05) as (url, _), Peer(url, timeout_seconds=0.3) as peer:
        correlation.begin(Call(deadline=None if left is None else time.monotonic() + left))
        began = time.monotonic()
        with pytest.raises(Unavailable) as raised:
            await peer.request("GET", "/")

    assert type(raised.value) is error
    assert time.monotonic() - began < 0.6


async def test_a_broken_answer_is_unavailable_and_a_refusal_is_an_answer() -> None:
    """5xx is the former, 4xx the latter; nobody there is too."""
    async with (
        server(OK.replace(b"200 OK", b"500 No"), OK.replace(b"200 OK", b"404 No")) as (url, _),
        Peer(url) as peer,
    ):
        with pytest.raises(Unavailable):
            await peer.request("GET", "/")
        assert (await peer.request("GET", "/")).status_code == 404
    async with Peer(url) as peer:
        with pytest.raises(Unavailable):
            await peer.request("GET", "/")


async def test_a_processor_is_waited_for_no_longer_than_the_call_has() -> None:
    """Its adapter sees a time-out, as if the processor had been silent."""
    async with server(OK, seconds=0.05) as (url, _):
        correlation.begin(Call(deadline=time.monotonic() + 0.1))
        async with bounded_client(secure=False, timeout=httpx.Timeout(5.0)) as client:
            with pytest.raises(httpx.TimeoutException):
                await client.get(url)
    correlation.begin(Call())
