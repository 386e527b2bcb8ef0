"""A load generator: `python -m tests.bench.load URL CONNECTIONS SECONDS COUNT` posts events and prints JSON.

Sockets and a search for the end of each answer's head, on uvloop: it does a fraction of the work of what it measures.
Every event has an id of its own. It ends after so many seconds or events (0: no limit).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

DATA = json.dumps(
    {
        "order_id": "01998c5e-4d5f-7cc3-98b5-0a6f3f2b1f11",
        "username": "ada",
        "amount": "99.50",
        "currency": "EUR",
        "payment_token": "tok_approve",
        "note": "x" * 120,
    }
).encode()
ATTRIBUTES = {
    "specversion": "1.0",
    "source": "/wake/bench",
    "type": "orders.placed.v1",
    "subject": "01998c5e-4d5f-7cc3-98b5-0a6f3f2b1f11",
    "time": "2026-01-31T12:00:00.123456Z",
}


@dataclass
class Load:
    """What is left to be sent, and what was answered."""

    before: bytes
    after: bytes
    until: float
    left: int
    answered: int = 0
    failed: int = 0
    number: int = 0

    def next(self) -> bytes | None:
        """The next request, or None when it is over."""
        if self.left == 0 or time.monotonic() >= self.until:
            return None
        self.left -= 1
        self.number += 1
        return b"%s%d-%d%s" % (self.before, os.getpid(), self.number, self.after)


class Connection(asyncio.Protocol):
    """One request after the other; answers have no body."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports do not say that they are one.
        self._transport = cast(asyncio.Transport, transport)
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """An answer, or part of one."""
        self._buffer += data
        if self._buffer.endswith(b"\r\n\r\n"):
            self._load.answered += 1
            self._load.failed += self._buffer[9:10] != b"2"
            self._buffer = b""
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, wanted or not."""
        if not self.over.done():
            self.over.set_exception(exc or ConnectionError("the server closed the connection"))

    def _go_on(self) -> None:
        request = self._load.next()
        if request is None:
            if not self.over.done():
                self.over.set_result(None)
            self._transport.close()
        else:
            self._transport.write(request)


async def run(url: str, connections: int, seconds: float, count: int) -> None:
    """Print how many were answered, how many of them not by 2xx, and in how many seconds."""
    where = urlsplit(url)
    headers = "".join(f"ce-{name}: {value}\r\n" for name, value in ATTRIBUTES.items())
    before = (
        f"POST {where.path} HTTP/1.1\r\nhost: {where.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(DATA)}\r\nprefer: reply\r\nkn-namespace: bench\r\n{headers}ce-id: "
    )
    began = time.monotonic()
    load = Load(before.encode(), b"\r\n\r\n" + DATA, began + (seconds or 1e9), count or -1)
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(load), where.hostname, where.port) for _ in range(connections)
    ]
    await asyncio.gather(*(connection.over for _, connection in made))
    sys.stdout.write(json.dumps([load.answered, load.failed, time.monotonic() - began]))


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
