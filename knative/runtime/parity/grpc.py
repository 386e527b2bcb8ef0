"""Calls over gRPC as JSON, by the contract in a file of descriptors: without generated code, and without reflection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from knative.runtime.parity.caller import NoAnswer
from knative.runtime.parity.normal import Seen
from knative.runtime.parity.scenario import Step
from knative.runtime.parity.target import Target, sentence

# What gRPC-HTTP's mapping of statuses (grpc/doc/http-grpc-status-mapping.md) makes of a server that has no such thing.
_NOT_SPOKEN = frozenset({Status.UNIMPLEMENTED, Status.UNKNOWN})


def contract(file: Path) -> descriptor_pool.DescriptorPool:
    """The services of a FileDescriptorSet, as protoc and buf write it."""
    pool = descriptor_pool.DescriptorPool()
    for one in descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes()).file:
        pool.AddSerializedFile(one.SerializeToString())
    return pool


class GrpcCaller:
    """A gRPC client of one installation."""

    def __init__(self, target: Target, channel: Channel, pool: descriptor_pool.DescriptorPool) -> None:
        self._target, self._channel, self._pool = target, channel, pool

    async def answer(self, step: Step, token: str = "") -> Seen:
        """What a step, whose variables are filled, is answered: a message, a list of those of a stream, or a status.

        Raises:
            NoAnswer: none came.
        """
        service, _, name = step.path.rpartition("/")
        method = self._pool.FindMethodByName(f"{service}.{name}")
        metadata = {**self._target.headers, **step.headers} | ({"authorization": f"Bearer {token}"} if token else {})
        try:
            async with asyncio.timeout(self._target.timeout):
                told = await self._called(method, step, metadata)
        except GRPCError as error:
            return Seen(step, error.status.name, {}, {"message": error.message, "details": error.details or []})
        except (OSError, ProtocolError, StreamTerminatedError) as error:
            raise NoAnswer(sentence(error, self._target)) from error
        return Seen(step, Status.OK.name, {}, told if method.server_streaming else told[0])

    async def _called(self, method: MethodDescriptor, step: Step, metadata: dict[str, str]) -> list[Any]:
        asked = message_factory.GetMessageClass(method.input_type)
        sent: Sequence[Any] = step.json if method.client_streaming else [step.json]
        async with self._channel.request(
            f"/{step.path}",
            _CARDINALITIES[method.client_streaming, method.server_streaming],
            asked,
            message_factory.GetMessageClass(method.output_type),
            metadata=metadata,
            timeout=self._target.timeout,
        ) as stream:
            for at, one in enumerate(sent, 1):
                await stream.send_message(ParseDict(one, asked()), end=at == len(sent))
            return [_json(one, self._pool) async for one in stream]


_CARDINALITIES = {(one.client_streaming, one.server_streaming): one for one in Cardinality}


def _json(message: Message, pool: descriptor_pool.DescriptorPool) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)


class Details(StatusDetailsCodecBase):
    """A refusal's details as JSON, of the kinds that the contract knows."""

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool
        self._status = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status"))

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """Nothing: a client sends none."""
        raise NotImplementedError

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:  # noqa: ARG002 - grpclib's signature.
        """What came beside the status."""
        return _json(self._status.FromString(data), self._pool).get("details", [])


@contextlib.asynccontextmanager
async def opened(target: Target, pool: descriptor_pool.DescriptorPool) -> AsyncIterator[GrpcCaller]:
    """A client on one connection; proxies are not used. Nothing connects yet."""
    channel = Channel(
        target.host,
        target.port,
        ssl=target.context(alpn="h2") if target.is_tls else None,
        status_details_codec=Details(pool),
        config=Configuration(ssl_target_name_override=target.name),
    )
    if target.host_header:
        # grpclib has no setting for what routes by name go by (`:authority`, RFC 9113, section 8.3.1).
        channel._authority = target.host_header  # noqa: SLF001
    try:
        yield GrpcCaller(target, channel, pool)
    finally:
        channel.close()


async def why_not(target: Target, caller: GrpcCaller, step: Step) -> str:
    """Why an installation does not speak gRPC, in one sentence; empty where it does, if only to refuse.

    *step* is any call that changes nothing.
    """
    if target.prefix:
        return f"gRPC has no path prefix such as {target.prefix}"
    try:
        seen = await caller.answer(step)
    except NoAnswer as error:
        return f"nothing speaks gRPC at {target.host}:{target.port} ({error.why})"
    if seen.status in {one.name for one in _NOT_SPOKEN}:
        return f"nothing speaks gRPC at {target.host}:{target.port} ({seen.status}: {seen.body['message']})"
    return ""
