"""The messages of one stream as they arrive: bounded before they are buffered, and after they are inflated.

Flow control follows from who holds what: a message that is complete and not yet read keeps its share of the window;
one that is still arriving, and that the reader waits for, gives it back at once, or it could never arrive.
"""

from __future__ import annotations

import zlib
from collections import deque

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes

from functions.rpc.frames import Malformed

_PREFIX = 5
# What zlib calls the formats of grpc-encoding; 16 is gzip's header.
ENCODINGS = {b"identity": 0, b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class Budget:
    """How many bytes of large messages may be arriving at once in this process."""

    def __init__(self, size: int) -> None:
        self.left = size


class Messages:
    """What a stream has received. `feed` and `take` answer how much of the window to give back."""

    __slots__ = ("_arriving", "_budget", "_complete", "_held", "_limit", "_reserved", "_window", "ended", "wbits")

    def __init__(self, limit: int, window: int, budget: Budget) -> None:
        self._limit = limit
        self._window = window
        self._budget = budget
        self._reserved = 0
        self._held = 0
        self._arriving: bytes | bytearray = b""
        self._complete: deque[tuple[int, bytes]] = deque()
        self.wbits = 0
        self.ended = False

    def __bool__(self) -> bool:
        return bool(self._complete)

    def feed(self, data: bytes) -> int:
        """Take what arrived.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED: a message is longer than is taken, or there is no room for it now.
            Malformed: the sender did not wait for its window.
        """
        if not self._arriving and len(data) >= _PREFIX and len(data) - _PREFIX == int.from_bytes(data[1:_PREFIX]):
            # A frame that is a message, as most are.
            self._require_fits(len(data) - _PREFIX)
            self._complete.append((data[0], data[_PREFIX:]))
            self._hold(len(data))
            return 0
        self._hold(len(data))
        if self._arriving:
            self._arriving += data
        else:
            self._arriving = bytearray(data)
        self._split()
        if self._complete:
            return 0
        given, self._held = self._held, 0
        return given

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._window:
            raise Malformed(ErrorCodes.FLOW_CONTROL_ERROR, "more than the window of the stream")

    def _split(self) -> None:
        arriving, start = self._arriving, 0
        while len(arriving) - start >= _PREFIX:
            length = int.from_bytes(arriving[start + 1 : start + _PREFIX])
            self._require_fits(length)
            end = start + _PREFIX + length
            if end > len(arriving):
                self._reserve(length)
                break
            self._complete.append((arriving[start], bytes(memoryview(arriving)[start + _PREFIX : end])))
            start = end
        if start:
            self._arriving = arriving[start:]

    def _require_fits(self, length: int) -> None:
        if length > self._limit:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"A message of {length} bytes is longer than is taken: {self._limit}."
            )

    def _reserve(self, length: int) -> None:
        """Before a message that is longer than the window: without this, few callers could fill the memory."""
        if length <= self._window or length <= self._reserved:
            return
        if length - self._reserved > self._budget.left:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "Too many large messages arrive at the moment: try again.")
        self._budget.left -= length - self._reserved
        self._reserved = length

    def take(self) -> tuple[bytes, int]:
        """The first complete message, inflated.

        Raises:
            GRPCError: INTERNAL for one that is packed in no way that was announced; RESOURCE_EXHAUSTED as `feed`.
        """
        packed, message = self._complete.popleft()
        if self._complete:
            given = min(self._held, len(message) + _PREFIX)
        else:
            given = self._held
            self.release()
        self._held -= given
        if packed:
            message = self._inflated(packed, message)
        return message, given

    def release(self) -> None:
        """Give back what was reserved; also when the stream ends."""
        if self._reserved:
            self._budget.left += self._reserved
            self._reserved = 0

    def _inflated(self, packed: int, message: bytes) -> bytes:
        if packed != 1 or not self.wbits:
            raise GRPCError(Status.INTERNAL, "A message is marked as compressed, with no encoding announced.")
        unpacker = zlib.decompressobj(self.wbits)
        try:
            whole = unpacker.decompress(message, self._limit + 1)
        except zlib.error as error:
            raise GRPCError(Status.INTERNAL, "A compressed message cannot be unpacked.") from error
        self._require_fits(len(whole))
        if not unpacker.eof:
            raise GRPCError(Status.INTERNAL, "A compressed message is cut off.")
        return whole
