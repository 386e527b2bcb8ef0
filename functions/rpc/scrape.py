"""GET /metrics on the port of a gRPC function: Prometheus speaks HTTP/1.1, and Knative gives a pod one port.

It is read no further than this needs: one request, told by the first bytes of its connection, one answer, and the end.
"""

from __future__ import annotations

from eventing.exposition import CONTENT_TYPE
from functions.metrics import Metrics

_REQUEST = b"GET /metrics HTTP/1."
_END = b"\r\n\r\n"


def is_scrape(data: bytes) -> bool:
    """Whether a connection that begins like this is one; HTTP/2 begins with PRI (RFC 9113, section 3.4)."""
    return data.startswith(_REQUEST)


def is_whole(request: bytes) -> bool:
    """Whether all of its head is there: its last line may be the one that says where it comes from."""
    return _END in request


def too_long() -> bytes:
    """To a head that has no end."""
    return _response("431 Request Header Fields Too Large", b"")


async def answer(request: bytes, metrics: Metrics) -> bytes:
    """To whoever asks the process itself; what came through a gateway is from outside."""
    if b"\r\nx-forwarded-for:" in request.lower():
        return _response("404 Not Found", b"")
    return _response("200 OK", (await metrics.text()).encode())


def _response(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
