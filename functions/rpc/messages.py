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
# What a message costs us beside its bytes: an empty one is five bytes to its sender.
_OVERHEAD = 100


class Budget:
    """How many bytes of messages may be arriving, or wait to be read, at once in this process."""

    def __init__(self, size: int) -> None:
        self.left = size


class Messages:
    """What a stream has received. `feed` and `take` answer how much of the window to give back."""

    __slots__ = (
        *("_arriving", "_budget", "_charged", "_complete", "_held", "_kept", "_limit", "_reserved", "_window"),
        *("ended", "wbits"),
    )

    def __init__(self, limit: int, window: int, budget: Budget) -> None:
        self._limit = limit
        self._window = window
        self._budget = budget
        self._reserved = self._kept = self._charged = 0
        self._held = 0
        self._arriving: bytes | bytearray = b""
        self._complete: deque[tuple[int, bytes]] = deque()
        self.wbits = 0
        self.ended = False

    def __bool__(self) -> bool:
        return bool(self._complete)

    @property
    def cut_off(self) -> bool:
        """Whether the last message ended before its end."""
        return self.ended and bool(self._arriving)

    def feed(self, data: bytes) -> int:
        """Take what arrived.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED: a message is longer than is taken, or there is no room for it now.
            Malformed: the sender did not wait for its window.
        """
        if not self._arriving and len(data) >= _PREFIX and len(data) - _PREFIX == int.from_bytes(data[1:_PREFIX]):
            # A frame that is a message, as most are.
            self._require_fits(len(data) - _PREFIX)
            self._hold(len(data))
            self._complete.append((data[0], data[_PREFIX:]))
            self._keep(len(data) + _OVERHEAD)
            return 0
        self._hold(len(data))
        if self._arriving:
            self._arriving += data
        else:
            self._arriving = bytearray(data)
        self._keep(len(data) + _OVERHEAD * self._split())
        if self._complete:
            return 0
        given, self._held = self._held, 0
        return given

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._window:
            raise Malformed(ErrorCodes.FLOW_CONTROL_ERROR, "more than the window of the stream")

    def _keep(self, size: int) -> None:
        """Without this, few callers could fill the memory: with messages that do not end, or that nobody reads."""
        self._kept += size
        due = max(self._kept, self._reserved)
        if due - self._charged > self._budget.left:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "Too many messages arrive at the moment: try again.")
        self._budget.left -= due - self._charged
        self._charged = due

    def _split(self) -> int:
        """Put those that are complete with the others; answers how many."""
        arriving, start, count = self._arriving, 0, 0
        while len(arriving) - start >= _PREFIX:
            length = int.from_bytes(arriving[start + 1 : start + _PREFIX])
            self._require_fits(length)
            end = start + _PREFIX + length
            if end > len(arriving):
                self._reserved = max(self._reserved, length)
                break
            self._complete.append((arriving[start], bytes(memoryview(arriving)[start + _PREFIX : end])))
            start = end
            count += 1
        if start:
            self._arriving = arriving[start:]
        return count

    def _require_fits(self, length: int) -> None:
        if length > self._limit:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"A message of {length} bytes is longer than is taken: {self._limit}."
            )

    def take(self) -> tuple[bytes, int]:
        """The first complete message, inflated.

        Raises:
            GRPCError: INTERNAL for one that is packed in no way that was announced; RESOURCE_EXHAUSTED as `feed`.
        """
        packed, message = self._complete.popleft()
        given = self._held
        if self._complete:
            given = min(given, len(message) + _PREFIX)
        else:
            self._reserved = 0
        self._held -= given
        if self._charged:
            self._keep(-len(message) - _PREFIX - _OVERHEAD)
        if packed:
            message = self._inflated(packed, message)
        return message, given

    def release(self) -> None:
        """Give back what is charged; also when the stream ends, and nobody reads the rest."""
        self._budget.left += self._charged
        self._charged = 0

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
