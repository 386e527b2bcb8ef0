"""PingSource's schedule and what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from knative.runtime import pingsource
from knative.runtime.pingsource import Pinger, next_tick
from knative.runtime.resources import Destination, PingSource
from tests.servers import quiet

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "expected"),
    [
        ("*/5 * * * *", None, datetime(2026, 11, 24, 12, 5, tzinfo=UTC)),
        ("* * * * *", None, datetime(2026, 11, 24, 12, 1, tzinfo=UTC)),
        ("*/10 * * * * *", None, datetime(2026, 11, 24, 12, 0, 10, tzinfo=UTC)),
        ("@daily", None, datetime(2026, 11, 25, 0, 0, tzinfo=UTC)),
        ("0 9 * * *", "Europe/Berlin", datetime(2026, 11, 25, 8, 0, tzinfo=UTC)),
    ],
)
def test_a_schedule_is_due_next_at(schedule: str, zone: str | None, expected: datetime) -> None:
    """Five fields, six with seconds first, descriptors and time zones."""
    assert expected == next_tick(schedule, zone, NOON)


class Sink:
    """An HTTP server that keeps what it is sent and answers the statuses it was given, then 204."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses
        self.requests: list[str] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        status = self.statuses.pop(0) if self.statuses else 204
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()


@pytest.fixture
async def sink() -> AsyncIterator[tuple[Sink, int]]:
    """A sink on a free port."""
    one = Sink([])
    server = await asyncio.start_server(quiet(one.take), "127.0.0.1", 0)
    yield one, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def source() -> PingSource:
    """A source that sweeps the outbox."""
    return PingSource(
        name="outbox-relay",
        namespace="shop",
        schedule="*/5 * * * *",
        timezone=None,
        content_type="application/json",
        data=b"{}",
        sink=Destination(uri=None, kind="Service", name="outbox-relay", namespace="shop", path=None),
        ce_overrides={"team": "orders"},
    )


async def test_a_tick_is_an_event_to_the_sink_s_host_through_the_gateway(sink: tuple[Sink, int]) -> None:
    """The gateway stands in for the cluster's DNS, and the host says who is meant."""
    one, port = sink
    pinger = Pinger(source(), "http://outbox-relay.shop.svc.cluster.local", ("127.0.0.1", port), print)
    await pinger.send()

    (request,) = one.requests
    assert request.startswith("POST / HTTP/1.1\r\n")
    assert "Host: outbox-relay.shop.svc.cluster.local\r\n" in request
    assert "ce-type: dev.knative.sources.ping\r\n" in request
    assert "ce-source: /apis/v1/namespaces/shop/pingsources/outbox-relay\r\n" in request
    assert "ce-team: orders\r\n" in request


async def test_a_tick_that_is_not_taken_is_tried_again(sink: tuple[Sink, int]) -> None:
    """A sink that answers 503 twice gets the same event a third time."""
    one, port = sink
    one.statuses = [503, 503]
    told: list[str] = []
    await Pinger(source(), f"http://127.0.0.1:{port}/", ("127.0.0.1", 1), told.append).send()

    ids = {line for request in one.requests for line in request.splitlines() if line.startswith("ce-id")}
    assert (len(one.requests), len(ids), told) == (3, 1, [])


async def test_a_tick_that_nobody_takes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """After five retries the tick is lost, and said so."""
    monkeypatch.setattr(pingsource, "_RETRY_DELAY_SECONDS", 0.0)
    told: list[str] = []
    await Pinger(source(), "http://127.0.0.1:9/", ("127.0.0.1", 9), told.append).send()

    assert len(told) == 1
    assert "outbox-relay" in told[0]
