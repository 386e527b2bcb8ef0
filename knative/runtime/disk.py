"""Watches the room on the disk that holds the state folder.

PostgreSQL goes on by itself once there is room again, and so does RabbitMQ. nats-server does not: a stream that could
not write once takes nothing more until its server is started again.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

_LOOK_SECONDS = 2.0
_FULL_BYTES = 16 * 1024 * 1024
# So much more has to be free before it counts as room again.
_ROOM_BYTES = 2 * _FULL_BYTES


def is_full(free: int, *, before: bool) -> bool:
    """Whether a disk with so many bytes free counts as full; between the limits it does if it did *before*."""
    return free < (_ROOM_BYTES if before else _FULL_BYTES)


async def changes(folder: Path) -> AsyncIterator[bool]:
    """Tell each time the disk of a folder becomes full (True) and has room again (False)."""
    full = False
    while True:
        now = is_full(shutil.disk_usage(folder).free, before=full)
        if now != full:
            full = now
            yield full
        await asyncio.sleep(_LOOK_SECONDS)
