"""Passwords: argon2id with OWASP's minimum (19 MiB, two passes, one lane), away from the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# Each hash takes 19 MiB and some 25 ms of a core: more at once would only make all of them late.
_AT_ONCE = 2
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="argon2")


async def hash_password(password: str) -> str:
    """The hash to keep."""
    return await asyncio.get_running_loop().run_in_executor(_pool(), _hasher.hash, password)


async def verify(password: str, password_hash: str | None) -> bool:
    """Whether this is the password; without a hash (there is no such user) it takes as long, and it is not."""
    kept = (
        password_hash
        if password_hash is not None
        else await asyncio.get_running_loop().run_in_executor(_pool(), _nobody)
    )
    matches = await asyncio.get_running_loop().run_in_executor(_pool(), _verify, kept, password)
    return matches and password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether it was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


@cache
def _nobody() -> str:
    return str(_hasher.hash("the password of nobody"))


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
