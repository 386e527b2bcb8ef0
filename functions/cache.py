"""A read-through cache in Redis or Valkey, where CACHE_URL names one. What it cannot do, the database does.

Nothing ever fails because of it: a copy that is away, late or nonsense is a read of the database. A copy is forgotten
by whoever changed the object, before that call is answered, and once more by the event that says so; a reader that
was overtaken by the change cannot put the old copy back, because the server compares versions. What escapes both is
gone after CACHE_TTL_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from eventing.event import Event
from functions import correlation, deadlines, kept
from functions.circuit import Circuit
from functions.errors import Unavailable
from functions.kept import Kept

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = logging.getLogger("functions")
# One for each call in hand; redis-py's pool that waits for one lets newcomers go first, and some wait for ever.
_CONNECTIONS_MAX = 64
_HELD_UP_SECONDS = 0.01


@dataclass(frozen=True)
class CacheSettings:
    """How a function uses its cache."""

    #: redis://, rediss:// or unix://, with user and password where it wants them.
    url: str
    #: Seconds that a copy lives: how long one that nothing could forget may be served, and personal data stays there.
    ttl_seconds: float = 60.0
    #: Seconds to wait for it, connecting included: long for a cache, and too short for a caller to notice.
    timeout_seconds: float = 0.05
    #: What every key begins with. Two installations may share a server, but not a name: they have the same users.
    namespace: str = "wake"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> CacheSettings | None:
        """CACHE_URL, CACHE_TTL_SECONDS, CACHE_TIMEOUT_SECONDS, CACHE_NAMESPACE; None where there is no cache."""
        url = environ.get("CACHE_URL", "")
        if not url:
            return None
        return cls(
            url,
            float(environ.get("CACHE_TTL_SECONDS") or cls.ttl_seconds),
            float(environ.get("CACHE_TIMEOUT_SECONDS") or cls.timeout_seconds),
            environ.get("CACHE_NAMESPACE") or cls.namespace,
        )


class CacheAway(Exception):
    """The cache does not answer: what it holds is not known."""


class CacheRefuses(CacheAway):
    """It answers that it cannot do this: a value of another type is there, its memory is full, we may not."""


class Cache:
    """The cache of one process; without settings there is none, and every read is one of the database."""

    def __init__(self, settings: CacheSettings | None) -> None:
        """Connects to nothing.

        Raises:
            ValueError: CACHE_URL is none that redis-py knows.
        """
        self._circuit = Circuit()
        try:
            self._redis = None if settings is None else _client(settings)
        except ValueError:
            # Its own words may be a part of the password, where that has a `/` in it.
            raise ValueError("CACHE_URL is no redis://:PASSWORD@HOST:PORT/DB, with what is special encoded") from None
        #: How long a copy lives.
        self.ttl_seconds = 0.0 if settings is None else settings.ttl_seconds
        self._timeout_seconds = 0.0 if settings is None else settings.timeout_seconds
        self._namespace = "" if settings is None else settings.namespace

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    async def read(
        self, key: str, may_see: Callable[[str], bool], load: Callable[[], Awaitable[Kept | None]]
    ) -> Kept | None:
        """The object if there is one and its owner's things are the caller's to see: its copy, or what *load* finds.

        To a caller who may not see it a copy is as good as none: the database is asked, as it is for an object that
        does not exist, and nothing is kept. So neither the answer nor its time tells the two apart.
        """
        if self._redis is None:
            found = await load()
            return found if found is not None and may_see(found.owner) else None
        async with deadlines.bounded():
            answers, copy = await self._copy(key)
        if copy is not None and may_see(copy.owner):
            return copy
        found = await load()
        if found is None or not may_see(found.owner):
            return None
        body = kept.encode(found)
        if answers and body is not None:
            with contextlib.suppress(CacheAway):
                await self._keep(key, found.version, body)
        return found

    async def forget(self, events: Iterable[Event]) -> None:
        """Forget what these events say has changed.

        Raises:
            CacheAway: that failed; an old copy may still be there.
        """
        for key, version in filter(None, map(kept.changed, events)) if self._redis is not None else ():
            await self._forget(key, version)

    async def _forget(self, key: str, version: int) -> None:
        with contextlib.suppress(CacheRefuses):
            if version:
                await self._keep(key, version, b"")
                return
        # Without a version, or room for one, nothing keeps an older copy from coming back; it would not live long.
        await self._ask("DEL", key)

    async def forget_own(self, events: Iterable[Event]) -> None:
        """As `forget`, for the process that made the change; where it fails, the event will do it."""
        with contextlib.suppress(CacheAway):
            await self.forget(events)

    async def forget_again(self, event: Event) -> None:
        """As `forget`, for whoever is delivered the event; older than any copy, there is nothing left to forget.

        Raises:
            Unavailable: the cache does not answer, and the event has to come again.
        """
        try:
            await self.forget([event])
        except CacheAway as error:
            if event.time is None or time.time() - event.time.timestamp() < self.ttl_seconds:
                raise Unavailable("The cache does not answer: an old copy may still be there.") from error

    async def _copy(self, key: str) -> tuple[bool, Kept | None]:
        """Whether the cache answers, and the copy that it has."""
        log = correlation.current().log
        try:
            # No more than that is read, whatever somebody put there.
            value = await self._ask("GETRANGE", key, 0, kept.BYTES_MAX)
        except CacheRefuses:
            value = b""
        except CacheAway:
            log["cache"] = "away"
            return False, None
        copy = kept.decode(value)
        log["cache"] = "miss" if copy is None else "hit"
        return True, copy

    async def _keep(self, key: str, version: int, body: bytes) -> None:
        milliseconds = max(1, int(self.ttl_seconds * 1000))
        await self._ask("EVAL", key, version, body, milliseconds, before=(_script(), 1))

    async def _ask(self, verb: str, key: str, *arguments: str | bytes | int, before: tuple[str | int, ...] = ()) -> Any:
        """What the server answers to a command on a key of ours; *before* is what stands before the key.

        Raises:
            CacheAway: it did not answer in time, or was not asked because it did not lately.
            CacheRefuses: it answered with an error.
        """
        from redis.exceptions import MaxConnectionsError, RedisError, ResponseError  # noqa: PLC0415 - there is a cache.

        assert self._redis is not None  # noqa: S101 - asked before.
        began = time.monotonic()
        if not self._circuit.allows(began):
            raise CacheAway
        try:
            async with _patience(self._timeout_seconds):
                command = (verb, *before, f"{self._namespace}:{key}", *arguments)
                answer = await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except ResponseError as error:
            self._circuit.worked()
            raise CacheRefuses from error
        except MaxConnectionsError as error:
            # Too much is going on here; that is not its fault.
            raise CacheAway from error
        except (RedisError, OSError, TimeoutError) as error:
            if self._circuit.failed(began, time.monotonic()):
                _log.warning("cache_away", extra={"reason": type(error).__name__})
            raise CacheAway from error
        self._circuit.worked()
        return answer


def _client(settings: CacheSettings) -> Redis:
    """A pooled client that neither repeats nor says more than it has to when it connects."""
    from redis.asyncio import ConnectionPool, Redis  # noqa: PLC0415 - 30 ms that only those with a cache pay.
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    pool = ConnectionPool.from_url(
        settings.url,
        max_connections=_CONNECTIONS_MAX,
        # Ours is for all of it.
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )
    return Redis.from_pool(pool)


@contextlib.asynccontextmanager
async def _patience(seconds: float) -> AsyncIterator[None]:
    """A time-out for whoever is asked, and not for us: where this process was held up, the answer may be there already.

    Raises:
        TimeoutError: it did not come.
    """
    loop = asyncio.get_running_loop()

    def end(limit: asyncio.Timeout, due: float) -> None:
        late = loop.time() - due > _HELD_UP_SECONDS
        limit.reschedule(loop.time() + (_HELD_UP_SECONDS if late else 0))

    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(seconds, end, limit, loop.time() + seconds)
        try:
            yield
        finally:
            timer.cancel()


@functools.cache
def _script() -> str:
    return Path(__file__).with_name("kept.lua").read_text()


@contextlib.asynccontextmanager
async def opened(environ: Mapping[str, str]) -> AsyncIterator[Cache]:
    """The cache that the environment names, until the function stops.

    Raises:
        ValueError: CACHE_URL is none that redis-py knows.
    """
    cache = Cache(CacheSettings.from_environment(environ))
    try:
        yield cache
    finally:
        await cache.close()


async def _cache(request: Request) -> Cache:
    cache: Cache = request.app.state.cache
    return cache


InCache = Annotated[Cache, Depends(_cache)]
