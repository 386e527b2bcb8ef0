"""Where events go out: K_SINK and K_CE_OVERRIDES."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from eventing.event import Event
from eventing.publisher import Publisher, PublishFailed
from tests.servers import quiet

EVENT = Event(id="1", source="/x", type="t", data=b"{}")


async def served(status: int, requests: list[str], extra: str = "") -> asyncio.Server:
    """A sink that answers one status."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"HTTP/1.1 {status} X\r\n{extra}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    return await asyncio.start_server(quiet(take), "127.0.0.1", 0)


def port(server: asyncio.Server) -> int:
    """Where it listens."""
    number: int = server.sockets[0].getsockname()[1]
    return number


async def test_overrides_are_set_on_every_event() -> None:
    """K_CE_OVERRIDES as a SinkBinding writes it."""
    requests: list[str] = []
    async with await served(202, requests) as server:
        environ = {"K_SINK": f"http://127.0.0.1:{port(server)}/", "K_CE_OVERRIDES": '{"extensions": {"team": "shop"}}'}
        publisher = Publisher.from_environment(environ)
        assert publisher is not None
        await publisher.publish(EVENT)
        await publisher.close()

    assert "ce-team: shop\r\n" in requests[0]


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
async def test_anything_but_2xx_has_failed(status: int) -> None:
    """Redirects are not followed; Retry-After is passed on."""
    async with await served(status, [], "retry-after: 7\r\nlocation: http://127.0.0.1:9/\r\n") as server:
        publisher = Publisher(f"http://127.0.0.1:{port(server)}/")
        with pytest.raises(PublishFailed) as failed:
            await publisher.publish(EVENT)
        await publisher.close()

    assert failed.value.retry_after_seconds == 7


@pytest.mark.parametrize("after", ["\xb2", "9" * 400, "-1", "soon", "1e3"])
async def test_a_time_that_is_none_is_not_waited_for(after: str) -> None:
    """Retry-After is a number of seconds that somebody can wait, or nothing."""
    async with await served(503, [], f"retry-after: {after}\r\n") as server:
        publisher = Publisher(f"http://127.0.0.1:{port(server)}/")
        with pytest.raises(PublishFailed) as failed:
            await publisher.publish(EVENT)
        await publisher.close()

    assert failed.value.retry_after_seconds is None


async def test_a_sink_that_is_away_has_failed() -> None:
    """With its address in the message."""
    publisher = Publisher("http://127.0.0.1:9/")
    with pytest.raises(PublishFailed, match=r"127\.0\.0\.1:9"):
        await publisher.publish(EVENT)
    await publisher.close()


@pytest.mark.parametrize(
    "sink", ["file:///etc/passwd", "http://user:word@host/", "broker", "http:///x", "nats://host", "amqp://h/?broker=x"]
)
def test_a_sink_has_to_be_a_plain_http_url_or_a_channel_s_with_a_broker(sink: str) -> None:
    """Anything else is refused before a byte goes out."""
    with pytest.raises(ValueError, match="K_SINK"):
        Publisher(sink)


def test_without_a_sink_there_is_no_publisher() -> None:
    """Then the outbox keeps the events."""
    assert Publisher.from_environment({}) is None


@pytest.mark.parametrize("sink", ["nats://127.0.0.1:9?broker=shop/default", "amqp://127.0.0.1:9/?broker=shop/default"])
async def test_a_channel_that_is_away_has_failed(sink: str) -> None:
    """The same exception, with how long to wait."""
    publisher = Publisher(sink)
    with pytest.raises(PublishFailed, match="-server: ") as failed:
        await publisher.publish(EVENT)
    await publisher.close()

    assert failed.value.retry_after_seconds == 1


def test_a_function_with_an_http_sink_imports_no_channel() -> None:
    """A cold start does not pay for what it does not use."""
    program = "import sys, eventing.publisher as p; p.Publisher('http://a/'); print('eventing.channels' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "False"
