"""Where a target is: its name, the addresses behind it, or the proxy that knows the way."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = "tuple[str, int]"


@dataclass(frozen=True)
class Target:
    """What is called, and whom one connects to for that: the same, or a proxy (RFC 9113, section 8.3.1)."""

    authority: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str, environ: Mapping[str, str]) -> Target:
        """The target of a URL such as `http://users-rpc.shop.svc.cluster.local`.

        Raises:
            ValueError: it is no http URL.
        """
        where = urlsplit(url)
        if where.scheme != "http" or not where.hostname or where.username is not None:
            raise ValueError(f"a gRPC target is an http URL, not {url!r}")
        via = urlsplit(_proxy(where.hostname, environ) or url)
        return cls(where.netloc, via.hostname or where.hostname, via.port or 80)


async def resolved(target: Target) -> list[Address]:
    """Every address that the name has, in no order: a headless Service has one for each replica.

    Raises:
        OSError: there is none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list({(str(one[4][0]), target.port) for one in found})
    random.shuffle(addresses)
    return addresses


def _proxy(host: str, environ: Mapping[str, str]) -> str | None:
    """The proxy for this host, if it is not one that is reached directly (NO_PROXY: names, and what ends in them)."""
    direct = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").replace(" ", "").split(",")
    if any(one and (one in {"*", host} or host.endswith(f".{one.lstrip('.')}")) for one in direct):
        return None
    return environ.get("http_proxy") or environ.get("HTTP_PROXY") or None
