"""Calls another function over gRPC: one pooled channel a process and target, balanced over its replicas.

`app.opens("users", lambda: Channel("http://users-rpc.shop.svc.cluster.local"))`, and in a handler
`UsersServiceStub(app.state.users)`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import grpclib.client
from grpclib.const import Cardinality
from grpclib.metadata import Deadline, encode_metadata
from multidict import MultiDict

from functions import correlation
from functions.rpc.addresses import Target
from functions.rpc.client_stream import ClientStream
from functions.rpc.headers import POST_HTTP, block, literal
from functions.rpc.limits import Limits
from functions.rpc.messages import Budget
from functions.rpc.pool import Pool

_FIXED = block((b"te", b"trailers"), (b"content-type", b"application/grpc"), (b"user-agent", b"grpc-python-wake/1"))


class Channel(grpclib.client.Channel):
    """A channel to one function, for the stubs that grpclib generates: `UsersServiceStub(channel)`.

    To a stub it is a grpclib channel; nothing of grpclib's own connection is used.
    """

    def __init__(self, target: str, limits: Limits | None = None, environ: Mapping[str, str] = os.environ) -> None:
        """*target* is an http URL; its host is reached through HTTP_PROXY, where that is set.

        Raises:
            ValueError: it is none.
        """
        self.loop = asyncio.get_running_loop()
        self._limits = limits or Limits()
        self._target = Target.of(target, environ)
        self._pool = Pool(self._target, self._limits)
        self._budget = Budget(self._limits.arriving_bytes_max)
        self._blocks: dict[str, bytes] = {}
        self.ready = self._pool.ready
        self.connection = self._pool.connection

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[Any],
        reply_type: type[Any],
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: Any = None,
    ) -> Any:
        """One call, in the name of the call that is being answered, and not longer than that may take."""
        call = correlation.current()
        ends = _earliest(
            call.deadline,
            None if timeout is None else time.monotonic() + timeout,
            None if deadline is None else time.monotonic() + deadline.time_remaining(),
        )
        if ends is None and cardinality is Cardinality.UNARY_UNARY:
            ends = time.monotonic() + self._limits.client_unary_seconds
        fields = self._blocks.get(name) or self._fields(name)
        fields += _of_call(call, metadata)
        return ClientStream(self, cardinality, (request_type, reply_type), fields, ends, self._budget)

    def _fields(self, name: str) -> bytes:
        """The part of the header block that is the same for every call of a method."""
        made = POST_HTTP + block((b":path", name.encode()), (b":authority", self._target.authority.encode())) + _FIXED
        self._blocks[name] = made
        return made

    def close(self) -> None:
        """Break off what is in flight, and close every connection."""
        self._pool.close()

    async def __aenter__(self) -> Self:
        """Until the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _earliest(*times: float | None) -> float | None:
    return min((one for one in times if one is not None), default=None)


def _of_call(call: correlation.Call, metadata: Any) -> bytes:
    """What belongs to this call alone, in no table: the ids change, and a token is nobody else's to keep."""
    fields = b""
    own = frozenset[str]()
    if metadata:
        given = MultiDict(metadata)
        own = frozenset(given)
        for name, value in encode_metadata(given.items()):
            fields += literal(name.encode(), value.encode(), secret=name == "authorization")
    if call.cause.correlation_id and "x-request-id" not in own:
        fields += literal(b"x-request-id", call.cause.correlation_id.encode())
    if call.cause.traceparent and "traceparent" not in own:
        fields += literal(b"traceparent", call.cause.traceparent.encode())
    if call.token and "authorization" not in own:
        fields += literal(b"authorization", b"Bearer " + call.token.encode(), secret=True)
    return fields
