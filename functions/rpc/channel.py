"""Calls other functions over gRPC: one pooled channel a process and target."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import grpclib.client
from multidict import MultiDict

from functions import correlation


class Channel(grpclib.client.Channel):
    """A channel to one function, for the stubs that grpclib generates: `UsersServiceStub(channel)`."""

    def __init__(self, target: str, environ: Mapping[str, str] = os.environ) -> None:
        """*target* is a URL: `http://users-rpc.shop.svc.cluster.local`."""
        where = urlsplit(target)
        via = urlsplit(_proxy(where.hostname or "", environ) or target)
        super().__init__(via.hostname, via.port or 80)
        self._authority = where.netloc

    def request(self, name: str, *arguments: Any, **options: Any) -> Any:
        """One call, in the name of the call that is being answered."""
        call = correlation.current()
        metadata = list(MultiDict(options.pop("metadata", None) or ()).items())
        metadata.append(("x-request-id", call.cause.correlation_id or "none"))
        if call.cause.traceparent:
            metadata.append(("traceparent", call.cause.traceparent))
        if call.token and all(name != "authorization" for name, _ in metadata):
            metadata.append(("authorization", f"Bearer {call.token}"))
        return super().request(name, *arguments, metadata=metadata, **options)


def _proxy(host: str, environ: Mapping[str, str]) -> str | None:
    """The proxy for this host, if it is not one that is reached directly (NO_PROXY: names, and what ends in them)."""
    direct = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").replace(" ", "").split(",")
    if any(one == "*" or host == one or (one and host.endswith(f".{one.lstrip('.')}")) for one in direct):
        return None
    return environ.get("http_proxy") or environ.get("HTTP_PROXY") or None
