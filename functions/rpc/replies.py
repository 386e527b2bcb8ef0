"""What the header fields of an answer say of how the call went. Pure."""

from __future__ import annotations

import binascii
from typing import Any

from google.protobuf.message import DecodeError
from grpclib.client import _H2_TO_GRPC_STATUS_MAP as OF_HTTP
from grpclib.const import Status
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import GRPCError
from grpclib.metadata import decode_bin_value, decode_grpc_message

from functions.rpc.headers import Headers
from functions.rpc.messages import ENCODINGS

_DETAILS = ProtoStatusDetailsCodec()
_OK = (b"grpc-status", b"0")


def encoding(head: Headers) -> int:
    """How the messages behind this head are packed, as zlib knows it.

    Raises:
        GRPCError: it is no head of gRPC's, or they are packed in a way that is not known here.
    """
    found = dict(head)
    http = found.get(b":status", b"200").decode("latin-1")
    if http != "200" and b"grpc-status" not in found:
        raise GRPCError(OF_HTTP.get(http, Status.UNKNOWN), f"The answer was HTTP's {http}.")
    wbits = ENCODINGS.get(found.get(b"grpc-encoding", b"identity"))
    if wbits is None:
        raise GRPCError(Status.INTERNAL, "The answer is packed in a way that is not known here.")
    return wbits


def failure(trailers: Headers) -> GRPCError | None:
    """What went wrong; None where nothing did. Trailers may be the head as well (gRPC over HTTP/2, Trailers-Only)."""
    if _OK in trailers:
        return None
    found = dict(trailers)
    if b"grpc-status" not in found:
        try:
            encoding(trailers)
        except GRPCError as error:
            return error
        return GRPCError(Status.UNKNOWN, "The answer came without a status.")
    try:
        status = Status(int(found[b"grpc-status"]))
    except ValueError:
        status = Status.UNKNOWN
    message = decode_grpc_message(found.get(b"grpc-message", b"").decode("latin-1"))
    return GRPCError(status, message, _details(found.get(b"grpc-status-details-bin"), status, message))


def _details(packed: bytes | None, status: Status, message: str) -> Any:
    """What a program can read of it; nothing where that is not what it says it is."""
    if packed is None:
        return None
    try:
        return _DETAILS.decode(status, message, decode_bin_value(packed))
    except (binascii.Error, DecodeError):
        return None
