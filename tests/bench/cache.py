"""users-get with and without a cache, one call at a time and 32 in flight; and the read alone that the cache spares."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from functions import kept
from functions.cache import Cache, CacheSettings
from functions.database import Database, DatabaseSettings
from functions.users import users
from tests import caches
from tests.bench import direct
from tests.flows.conftest import Customer, Installation

FUNCTION = "users-get"
ONE_BY_ONE, IN_FLIGHT, ROUNDS, SECONDS = 1500, 32, 5, 1.0


def run(installation: Installation) -> None:
    """Print the figures: both functions run at once and take turns, so that the machine is the same for both."""
    program = caches.program()
    if program is None:
        print(f"\nCache: not measured, {caches.ABSENT}")
        return
    customer = Customer(installation)
    token = customer.http.headers["authorization"]
    with tempfile.TemporaryDirectory(prefix="wake-bench-") as folder:
        server = caches.start(program, Path(folder))
        try:
            variables = {**direct.variables(installation, FUNCTION), "LOG_LEVEL": "warning", "CACHE_URL": ""}
            with (
                direct.serving(FUNCTION, variables) as without,
                direct.serving(FUNCTION, {**variables, "CACHE_URL": server.url}) as cached,
            ):
                asyncio.run(_compare(customer.username, token, without, cached))
            asyncio.run(_reads(variables["DATABASE_URL"], server.url, customer.username))
        finally:
            server.stop()
    customer.http.close()


async def _compare(username: str, token: str, without: int, cached: int) -> None:
    request = f"GET /users/{username} HTTP/1.1\r\nhost: bench\r\nauthorization: {token}\r\n\r\n".encode()
    ports = {"without": without, "cached": cached}
    durations: dict[str, list[float]] = {name: [] for name in ports}
    rates: dict[str, list[float]] = {name: [] for name in ports}
    costs: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(ROUNDS):
        for name, port in ports.items():
            durations[name] += await _one_by_one(port, request, ONE_BY_ONE // ROUNDS)
        for name, port in ports.items():
            before = await _cpu_seconds(port)
            rates[name].append(await _many(port, request))
            costs[name].append((await _cpu_seconds(port) - before) / (rates[name][-1] * SECONDS))
    print(f"\n{FUNCTION} with and without a cache, a process each, without the gateway")
    middle = {name: statistics.median(values) * 1000 for name, values in durations.items()}
    rate = {name: statistics.median(values) for name, values in rates.items()}
    cost = {name: statistics.median(values) * 1e6 for name, values in costs.items()}
    print(f"  {'':<34}{'without':>10}{'cached':>10}  ratio")
    _print("one at a time, p50 ms", middle["without"], middle["cached"], 3)
    _print(f"{IN_FLIGHT} in flight, calls a second", rate["without"], rate["cached"], 0)
    _print("  the function's CPU, µs a call", cost["without"], cost["cached"], 0)


def _print(what: str, without: float, cached: float, digits: int) -> None:
    print(f"  {what:<34}{without:>10.{digits}f}{cached:>10.{digits}f}  {cached / without:5.2f}", flush=True)


async def _one_by_one(port: int, request: bytes, count: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    durations = []
    for _ in range(count):
        began = time.perf_counter()
        await _ask(reader, writer, request)
        durations.append(time.perf_counter() - began)
    writer.close()
    return durations


async def _many(port: int, request: bytes) -> float:
    """Calls a second, of so many clients that each wait for their answer."""
    until, count = time.monotonic() + SECONDS, 0

    async def client() -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            await _ask(reader, writer, request)
            count += 1
        writer.close()

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
    return count / SECONDS


async def _cpu_seconds(port: int) -> float:
    """What the function's process says it has used so far: unlike time, other people's work does not add to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    text = await _ask(reader, writer, b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n")
    writer.close()
    return float(text.decode().partition("\nprocess_cpu_seconds_total{")[2].split()[1])


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))


async def _reads(database_url: str, cache_url: str, username: str) -> None:
    """What one read costs in the process that makes it."""
    database = Database(DatabaseSettings(database_url))
    await database.open()
    cache = Cache(CacheSettings(cache_url))

    async def load() -> kept.Kept | None:
        user = await users.find(database, username)
        return None if user is None else user.kept()

    key = kept.key("users", username)
    row = await _microseconds(load)
    copy = await _microseconds(lambda: cache.read(key, lambda _: True, load))
    await cache.close()
    await database.close()
    _print("the read alone, p50 µs", row, copy, 0)


async def _microseconds(read: Callable[[], Awaitable[object]]) -> float:
    durations = []
    for _ in range(1000):
        began = time.perf_counter()
        await read()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations) * 1e6
