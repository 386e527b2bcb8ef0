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
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from eventing.event import Event
from functions import correlation, kept
from functions.circuit import Circuit
from functions.errors import Unavailable
from functions.kept import Kept

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = logging.getLogger("functions")
_CONNECTIONS_MAX = 16


@dataclass(frozen=True)
class CacheSettings:
    """How a function uses its cache."""

    #: redis://, rediss:// or unix://, with user and password where it wants them.
    url: str
    #: Seconds that a copy lives: how long one that nothing could forget may be served, and personal data stays there.
    ttl_seconds: float = 60.0
    #: Seconds to wait for it, connecting included. Some ten times what the database takes, and nobody notices.
    timeout_seconds: float = 0.05

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> CacheSettings | None:
        """CACHE_URL, CACHE_TTL_SECONDS, CACHE_TIMEOUT_SECONDS; None where there is no cache."""
        url = environ.get("CACHE_URL", "")
        if not url:
            return None
        return cls(
            url,
            float(environ.get("CACHE_TTL_SECONDS") or cls.ttl_seconds),
            float(environ.get("CACHE_TIMEOUT_SECONDS") or cls.timeout_seconds),
        )


class CacheAway(Exception):
    """The cache does not answer: what it holds is not known."""


class Cache:
    """The cache of one process; without settings there is none, and every read is one of the database."""

    def __init__(self, settings: CacheSettings | None) -> None:
        """Connects to nothing.

        Raises:
            ValueError: CACHE_URL is none that redis-py knows.
        """
        self._circuit = Circuit()
        self._redis = None if settings is None else _client(settings)
        #: How long a copy lives.
        self.ttl_seconds = 0.0 if settings is None else settings.ttl_seconds
        self._timeout_seconds = 0.0 if settings is None else settings.timeout_seconds

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
            if version:
                await self._keep(key, version, b"")
            else:
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
        except CacheAway:
            log["cache"] = "away"
            return False, None
        copy = kept.decode(value or b"")
        log["cache"] = "miss" if copy is None else "hit"
        return True, copy

    async def _keep(self, key: str, version: int, body: bytes) -> None:
        await self._ask("EVAL", _script(), 1, key, version, body, max(1, int(self.ttl_seconds * 1000)))

    async def _ask(self, *command: str | bytes | int) -> bytes | None:
        """What the server answers; None where it answers that it cannot do this.

        Raises:
            CacheAway: it did not answer in time, or was not asked because it did not lately.
        """
        from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415 - there is a cache.

        assert self._redis is not None  # noqa: S101 - asked before.
        if not self._circuit.allows(time.monotonic()):
            raise CacheAway
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer: bytes | None = await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except ResponseError:
            # A value of another type, no memory left: it is there, and this key is of no use.
            answer = None
        except (RedisError, OSError, TimeoutError) as error:
            self._circuit.failed(time.monotonic())
            _log.warning("cache_away", extra={"reason": type(error).__name__})
            raise CacheAway from error
        self._circuit.worked()
        return answer


def _client(settings: CacheSettings) -> Redis:
    """A pooled client that neither repeats nor says more than it has to when it connects."""
    from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415 - 30 ms that only those with a cache pay.
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    pool = BlockingConnectionPool.from_url(
        settings.url,
        max_connections=_CONNECTIONS_MAX,
        timeout=settings.timeout_seconds,
        socket_timeout=settings.timeout_seconds,
        socket_connect_timeout=settings.timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )
    return Redis.from_pool(pool)


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


def _cache(request: Request) -> Cache:
    cache: Cache = request.app.state.cache
    return cache


InCache = Annotated[Cache, Depends(_cache)]
