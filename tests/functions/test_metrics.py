"""What a function counts, as Prometheus reads it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from functions.metrics import BOUNDS, Metrics
from tests.caches import CacheServer
from tests.functions.conftest import bearer

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
ME = bearer("ada")
_SAMPLE = re.compile(r'^(?P<series>[a-z_]+(\{([a-z]+="[^"\\\n]*",?)*\})?) (?P<value>[0-9.]+(e[+-][0-9]+)?)$')


def samples(text: str) -> dict[str, float]:
    """Every series of the text format; each line is a comment or a sample."""
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    found = [_SAMPLE.match(line) for line in lines]

    assert all(found), lines
    return {one["series"]: float(one["value"]) for one in found if one is not None}


async def test_a_function_counts_its_calls_and_looks_into_the_cache(serve: Any, cache_server: CacheServer) -> None:
    """By method and status, with their durations; a miss and two hits."""
    await (await serve("users.register", CACHE_URL=cache_server.url)).client.post("/users/", json=ADA)
    get = await serve("users.get")
    before = samples((await get.client.get("/metrics")).text)
    for _ in range(3):
        await get.client.get("/users/ada", headers=ME)
    await get.client.get("/users/ada")
    answer = await get.client.get("/metrics")
    grown = {name: value - before.get(name, 0) for name, value in samples(answer.text).items()}

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert grown['wake_requests_total{function="users-get",method="GET",status="200"}'] == 3
    assert grown['wake_requests_total{function="users-get",method="GET",status="401"}'] == 1
    assert grown['wake_request_duration_seconds_bucket{function="users-get",le="+Inf"}'] == 4
    assert [
        grown[f'wake_cache_lookups_total{{function="users-get",result="{result}"}}']
        for result in ("hit", "miss", "away")
    ] == [2, 1, 0]


async def test_nobody_reads_them_through_a_gateway(serve: Any) -> None:
    """404: how much a shop sells is not for everybody."""
    served = await serve("users.get")

    assert (await served.client.get("/metrics", headers={"x-forwarded-for": "192.0.2.1"})).status_code == 404


async def test_a_method_that_a_caller_invents_makes_no_series(serve: Any) -> None:
    """All of them are one."""
    served = await serve("users.get")
    for method in ("BREW", "WHEN"):
        await served.client.request(method, "/users/ada")

    assert 'method="other",status="405"' in (await served.client.get("/metrics")).text
    assert "BREW" not in (await served.client.get("/metrics")).text


async def test_events_are_counted_as_published_or_left(serve: Any) -> None:
    """An order that was placed while there is no sink leaves its event in the outbox."""
    served = await serve("users.register")
    left = 'wake_events_total{function="users-register",what="left"}'
    before = samples((await served.client.get("/metrics")).text)[left]
    await served.client.post("/users/", json=ADA)
    found = samples((await served.client.get("/metrics")).text)

    assert found[left] - before == 1
    assert found['wake_database_connections{function="users-register",what="open"}'] == 1
    assert found['wake_database_wait_seconds_total{function="users-register"}'] > 0
    assert 0 < found['process_start_time_seconds{function="users-register"}'] <= time.time()
    assert found['wake_startup_seconds{function="users-register"}'] >= 0


@given(st.lists(st.floats(0, 20)))
def test_the_histogram_counts_each_duration_once(seconds: list[float]) -> None:
    """Cumulative, with bounds that belong to what is below them."""
    metrics = Metrics("f")
    for one in seconds:
        metrics.note("GET", 200, one, cold=False, cache=None)
    found = samples(asyncio.run(metrics.text()))

    for bound in BOUNDS:
        assert found[f'wake_request_duration_seconds_bucket{{function="f",le="{bound}"}}'] == sum(
            one <= bound for one in seconds
        )
    assert found['wake_request_duration_seconds_count{function="f"}'] == len(seconds)
