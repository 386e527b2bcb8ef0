"""The read-through cache: on a real Redis or Valkey, in front of a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from functions import correlation, kept
from functions.cache import Cache, CacheAway, CacheSettings
from functions.circuit import Circuit
from functions.correlation import Call
from functions.errors import DeadlineExceeded
from functions.events import PaymentsCaptured, UsersUpdated
from functions.kept import BYTES_MAX, FORMAT, Kept
from tests.caches import CacheServer
from tests.functions.conftest import bearer

# Orders are placed here, and orders asks users about the buyer.
pytestmark = pytest.mark.usefixtures("buyers")

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
ME, EVE, ADMIN = bearer("ada"), bearer("eve"), bearer("root", "admin")
NAME = kept.key("users", "ada")
KEY = f"wake:{NAME}"
NAMES = st.text("abc", min_size=1, max_size=8)


def of_version(version: int) -> Kept:
    """An object of ada's."""
    return Kept("ada", version, {"username": "ada", "email": f"{version}@example.com"})


@pytest.fixture
async def inside(cache_server: CacheServer) -> AsyncIterator[Any]:
    """Looks into the cache."""
    client = redis.asyncio.Redis.from_url(cache_server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def cache(cache_server: CacheServer) -> AsyncIterator[Cache]:
    """A function's own."""
    made = Cache(CacheSettings(cache_server.url))
    yield made
    await made.close()


@pytest.fixture
async def order_id(serve: Any, cache_server: CacheServer) -> str:
    """An order of ada's; every function that is served from here on has the cache."""
    place = await serve("orders.place", CACHE_URL=cache_server.url)
    return str((await place.client.post("/orders/", json=ORDER, headers=ME)).json()["order_id"])


def results(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log lines of the requests say about the cache."""
    return [record.__dict__["cache"] for record in caplog.records if "cache" in record.__dict__]


async def test_the_second_read_is_the_copy_with_the_same_tag(
    serve: Any, order_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A miss, then hits: the same body and ETag, 304 too, and the database is not asked."""
    served = await serve("orders.get")
    with caplog.at_level("INFO"):
        first = await served.client.get(f"/orders/{order_id}", headers=ME)
        await served.sql("UPDATE orders SET status = 'rejected'")
        second = await served.client.get(f"/orders/{order_id.upper()}", headers=ME)
        third = await served.client.get(f"/orders/{order_id}", headers={**ME, "if-none-match": first.headers["etag"]})

    assert (second.json(), second.headers["etag"]) == (first.json(), first.headers["etag"])
    assert third.status_code == 304
    assert results(caplog) == ["miss", "hit", "hit"]


async def test_nobody_is_served_what_was_kept_for_another(serve: Any, order_id: str, inside: Any) -> None:
    """404 with and without a copy, and it is made for nobody who may not see it; an admin may."""
    served = await serve("orders.get")
    strange = await served.client.get(f"/orders/{order_id}", headers=EVE)
    before = await inside.keys()
    admin = await served.client.get(f"/orders/{order_id}", headers=ADMIN)
    again = await served.client.get(f"/orders/{order_id}", headers=EVE)
    nobody = await served.client.get(f"/orders/{order_id[:-4]}0000", headers=EVE)

    assert [one.status_code for one in (strange, admin, again, nobody)] == [404, 200, 404, 404]
    assert before == []
    assert strange.json() == again.json() == nobody.json()


async def test_a_stranger_goes_to_the_database_whether_there_is_a_copy_or_not(
    serve: Any, order_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the time of a 404 does not tell what is there."""
    served = await serve("orders.get")
    await served.client.get(f"/orders/{order_id}", headers=ME)
    asked = []
    fetch = served.app.state.database.fetch
    monkeypatch.setattr(served.app.state.database, "fetch", lambda *given: asked.append(given) or fetch(*given))
    for name in (order_id, f"{order_id[:-4]}0000"):
        await served.client.get(f"/orders/{name}", headers=EVE)

    assert len(asked) == 2


async def test_what_is_kept_is_what_is_shown_and_not_for_ever(
    serve: Any, cache_server: CacheServer, inside: Any
) -> None:
    """No password's hash; the name of the key says the format."""
    await (await serve("users.register", CACHE_URL=cache_server.url)).client.post("/users/", json=ADA)
    shown = await (await serve("users.get")).client.get("/users/ada", headers=ME)
    version, _, body = (await inside.get(KEY)).partition(b":")

    assert f"wake:{FORMAT}:users:ada" == KEY
    assert (version, json.loads(body)) == (b"1", {"owner": "ada", "view": shown.json()})
    assert 0 < await inside.pttl(KEY) <= 60_000


async def test_a_change_is_read_at_once_by_whoever_made_it(serve: Any, cache_server: CacheServer) -> None:
    """The copy is forgotten before the change is answered; who left is not there any more."""
    await (await serve("users.register", CACHE_URL=cache_server.url)).client.post("/users/", json=ADA)
    get, update, leave = [await serve(f"users.{verb}") for verb in ("get", "update", "deactivate")]
    await get.client.get("/users/ada", headers=ME)
    await update.client.patch("/users/ada", json={"email": "new@example.com"}, headers=ME)
    changed = await get.client.get("/users/ada", headers=ME)
    await leave.client.delete("/users/ada", headers=ME)
    gone = await get.client.get("/users/ada", headers=ME)

    assert (changed.json()["email"], changed.headers["etag"]) == ("new@example.com", '"2"')
    assert gone.status_code == 404
    assert (await update.outbox())[1:] == [
        ("users.updated.v1", {"username": "ada", "version": 2}),
        ("users.deactivated.v1", {"username": "ada", "version": 3}),
    ]


async def test_what_events_do_to_an_order_is_seen_at_once(serve: Any, order_id: str) -> None:
    """Confirmed by an event, cancelled by a request."""
    get, confirm, cancel = [await serve(f"orders.{verb}") for verb in ("get", "confirm", "cancel")]
    await get.client.get(f"/orders/{order_id}", headers=ME)
    await confirm.post_event(PaymentsCaptured(order_id=order_id, amount="99.50", currency="EUR"))
    confirmed = await get.client.get(f"/orders/{order_id}", headers=ME)
    await cancel.client.post(f"/orders/{order_id}/cancel", headers=ME)
    cancelled = await get.client.get(f"/orders/{order_id}", headers=ME)

    assert [one.json()["status"] for one in (confirmed, cancelled)] == ["confirmed", "cancelled"]


async def put(cache: Cache, one: Kept) -> Kept | None:
    """Read through a cache, finding this in the database."""

    async def load() -> Kept:
        return one

    return await cache.read(NAME, lambda _: True, load)


async def test_a_reader_that_was_overtaken_does_not_put_the_old_copy_back(cache: Cache) -> None:
    """It read version 1, version 2 was written and announced, and only then it came to keep what it had."""
    reading, announced = asyncio.Event(), asyncio.Event()

    async def load() -> Kept:
        reading.set()
        await announced.wait()
        return of_version(1)

    slow = asyncio.create_task(cache.read(NAME, lambda _: True, load))
    await reading.wait()
    await cache.forget([UsersUpdated(username="ada", version=2).to_event()])
    announced.set()

    assert await slow == of_version(1)
    assert await put(cache, of_version(2)) == of_version(2)
    assert await put(cache, of_version(3)) == of_version(2)


@pytest.mark.parametrize("order", [(1, -2, 2), (2, -2, 1), (-2, 1, 2), (1, 2, -2), (-2, 2, 1), (2, 1, -2)])
async def test_the_latest_version_wins_in_any_order(cache: Cache, inside: Any, order: tuple[int, ...]) -> None:
    """Copies of versions 1 and 2, and the news of version 2: afterwards there is 2, or none."""
    for step in order:
        if step > 0:
            await cache._keep(NAME, step, kept.encode(of_version(step)) or b"")
        else:
            await cache.forget([UsersUpdated(username="ada", version=-step).to_event()])

    assert kept.decode(await inside.get(KEY)) in (of_version(2), None)
    assert (await inside.get(KEY)).startswith(b"2:")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"nonsense",
        b"1:",
        b"1:{",
        b"x:{}",
        b"1:[]",
        b'1:{"owner": 5, "view": {}}',
        b"1:" + b"[" * 9000,
        b"9" * 60000,
    ],
)
async def test_nonsense_is_passed_over(cache: Cache, inside: Any, nonsense: bytes) -> None:
    """Whatever somebody put there, the database decides."""
    await inside.set(KEY, nonsense)

    assert await put(cache, of_version(5)) == of_version(5)


async def test_a_process_that_was_held_up_takes_the_answer_that_came_meanwhile(cache: Cache) -> None:
    """The cache is not to blame for what kept this process from reading."""
    await cache._ask("GETRANGE", NAME, 0, 9)
    asking = asyncio.create_task(cache._ask("GETRANGE", NAME, 0, 9))
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 - what holds it up.

    assert await asking == b""


async def test_a_value_of_another_type_is_passed_over_and_shuts_nobody_out(cache: Cache, inside: Any) -> None:
    """The cache stays in use for other keys."""
    await inside.lpush(KEY, "a")
    for _ in range(5):
        assert await put(cache, of_version(5)) == of_version(5)

    assert await cache._ask("GETRANGE", "another", 0, 9) == b""


async def test_another_format_is_another_cache(cache: Cache, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two versions of the code side by side do not read each other's copies."""
    await put(cache, of_version(1))
    monkeypatch.setattr(kept, "FORMAT", FORMAT + 1)
    monkeypatch.setattr(sys.modules[__name__], "NAME", kept.key("users", "ada"))

    assert await put(cache, of_version(2)) == of_version(2)
    assert sorted(await inside.keys()) == [b"wake:1:users:ada", b"wake:2:users:ada"]


async def test_two_installations_may_share_a_server(cache: Cache, cache_server: CacheServer) -> None:
    """Under another CACHE_NAMESPACE the same user is another."""
    await put(cache, of_version(1))
    other = Cache(CacheSettings(cache_server.url, namespace="staging"))

    assert await put(other, of_version(2)) == of_version(2)
    await other.close()


@pytest.mark.parametrize("setting", [{"maxmemory": "1"}, {}])
async def test_what_cannot_be_marked_as_forgotten_is_deleted(
    cache: Cache, inside: Any, setting: dict[str, str]
) -> None:
    """A server whose memory is full takes no marks; a value of another type is in their way."""
    await put(cache, of_version(1))
    for name, value in setting.items():
        await inside.config_set(name, value)
    if not setting:
        await inside.delete(KEY)
        await inside.lpush(KEY, "a")
    await cache.forget([UsersUpdated(username="ada", version=2).to_event()])

    assert await inside.exists(KEY) == 0


async def test_a_user_of_the_cache_who_may_not_forget_is_told(cache: Cache, inside: Any) -> None:
    """Not a copy that silently stays."""
    await put(cache, of_version(1))
    await inside.execute_command("ACL", "SETUSER", "default", "-eval", "-del")
    with pytest.raises(CacheAway):
        await cache.forget([UsersUpdated(username="ada", version=2).to_event()])


async def test_a_call_that_has_less_time_than_the_cache_does_not_wait_for_it(
    cache: Cache, cache_server: CacheServer
) -> None:
    """It ends at its own deadline."""
    cache_server.hang()
    correlation.begin(Call(deadline=time.monotonic() + 0.01))
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await put(cache, of_version(1))
    correlation.begin(Call())
    cache_server.go_on()

    assert time.monotonic() - began < 0.04


async def test_who_was_cancelled_leaves_no_answer_for_the_next(cache: Cache, inside: Any) -> None:
    """Whatever was asked before, each gets what was asked for."""
    await inside.mset({f"wake:{number}": number for number in range(40)})
    for number in range(20):
        cancelled = asyncio.create_task(cache._ask("GETRANGE", str(number), 0, 9))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        cancelled.cancel()
        assert await cache._ask("GETRANGE", str(number + 20), 0, 9) == str(number + 20).encode()
        await asyncio.gather(cancelled, return_exceptions=True)


async def test_a_long_object_is_not_kept(cache: Cache, inside: Any) -> None:
    """Nobody can fill the cache by a few objects."""
    await put(cache, Kept("ada", 1, {"text": "x" * BYTES_MAX}))

    assert await inside.keys() == []


async def test_a_cache_that_is_killed_costs_nothing_but_the_copies(
    serve: Any, order_id: str, cache_server: CacheServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Reads and writes go on, and are answered as before."""
    get, cancel = await serve("orders.get"), await serve("orders.cancel")
    before = await get.client.get(f"/orders/{order_id}", headers=ME)
    cache_server.stop()
    with caplog.at_level("INFO"):
        after = await get.client.get(f"/orders/{order_id}", headers=ME)
    cancelled = await cancel.client.post(f"/orders/{order_id}/cancel", headers=ME)

    assert (after.status_code, after.json()) == (200, before.json())
    assert results(caplog) == ["away"]
    assert cancelled.status_code == 200


async def test_a_cache_that_hangs_holds_nobody_up(
    serve: Any, order_id: str, cache_server: CacheServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Below 100 ms each, from the fourth on as if there were none; once it goes on it is used again."""
    get = await serve("orders.get")
    await get.client.get(f"/orders/{order_id}", headers=ME)
    cache_server.hang()
    took = []
    for _ in range(6):
        began = time.monotonic()
        assert (await get.client.get(f"/orders/{order_id}", headers=ME)).status_code == 200
        took.append(time.monotonic() - began)
    cache_server.go_on()

    assert max(took) < 0.1
    assert max(took[3:]) < 0.04
    caplog.set_level("INFO")
    async with asyncio.timeout(5):
        while results(caplog)[-1:] != ["hit"]:
            await asyncio.sleep(0.02)
            await get.client.get(f"/orders/{order_id}", headers=ME)


async def test_a_wrong_url_is_a_mistake_that_is_told(cache_server: CacheServer) -> None:
    """At the start, and not by a cache that is never there."""
    with pytest.raises(ValueError, match="CACHE_URL is no redis:"):
        Cache(CacheSettings("http://127.0.0.1"))


async def test_without_a_cache_its_library_is_not_imported(database_url: Callable[[str], str]) -> None:
    """A cold start does not pay for what is not there."""
    program = (
        "import sys, asyncio\n"
        "from functions.operations import load\n"
        "app = load('users-get')\n"
        "async def main():\n"
        "    async with app.router.lifespan_context(app): print('redis' in sys.modules)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CACHE_URL": "", "DATABASE_URL": database_url("users")},
    )
    output, _ = await process.communicate()

    assert output == b"False\n"


@given(owner=NAMES, version=st.integers(1, 10**9), view=st.dictionaries(NAMES, st.text(max_size=20), max_size=4))
def test_what_is_kept_comes_back_as_it_was(owner: str, version: int, view: dict[str, Any]) -> None:
    """Through the format and back."""
    one = Kept(owner, version, view)

    assert kept.decode(str(version).encode() + b":" + (kept.encode(one) or b"")) == one


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange_to_be_read(value: bytes) -> None:
    """They are a copy, or none; never an error."""
    assert kept.decode(value) is None or value[:1].isdigit()


@given(st.lists(st.tuples(st.floats(0, 0.5), st.booleans()), max_size=60))
def test_an_open_circuit_lets_one_a_rest_through(steps: list[tuple[float, bool]]) -> None:
    """Three failures in a row open it; one success closes it."""
    circuit, now, in_a_row = Circuit(), 0.0, 0
    tried: list[float] = []
    for wait, works in steps:
        now += wait
        allowed = circuit.allows(now)
        assert allowed or (in_a_row >= 3 and now - tried[-1] < 1.0)
        if in_a_row >= 3 and allowed:
            assert now - tried[-1] >= 1.0
        if allowed:
            tried.append(now)
            in_a_row = 0 if works else in_a_row + 1
            circuit.worked() if works else circuit.failed(now, now)


def test_what_fails_together_is_one_failure() -> None:
    """Ten that were asked at once do not open it; three one after the other do."""
    circuit = Circuit()
    assert [circuit.failed(1.0, 1.05 + number / 1000) for number in range(10)] == [True, *[False] * 9]
    assert circuit.allows(1.1)
    for began in (1.1, 1.2):
        circuit.failed(began, began + 0.05)

    assert not circuit.allows(1.3)


async def test_nothing_is_asked_of_a_cache_that_rests(cache: Cache, cache_server: CacheServer) -> None:
    """After three failures it is away without a try."""
    cache_server.stop()
    for _ in range(3):
        with pytest.raises(CacheAway):
            await cache._ask("GETRANGE", NAME, 0, 9)
    began = time.monotonic()
    with pytest.raises(CacheAway):
        await cache._ask("GETRANGE", NAME, 0, 9)

    assert time.monotonic() - began < 0.005
