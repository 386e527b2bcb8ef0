"""What the two sides of a connection announce to each other (SETTINGS; RFC 9113, section 6.5). Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from functions.rpc import frames
from functions.rpc.frames import Malformed

_SETTING = struct.Struct(">HI")
# What a value may be, and what the connection ends with where it is another (section 6.5.2).
_RANGES: Mapping[int, tuple[int, int, ErrorCodes]] = {
    SettingCodes.ENABLE_PUSH: (0, 1, ErrorCodes.PROTOCOL_ERROR),
    SettingCodes.INITIAL_WINDOW_SIZE: (0, frames.WINDOW_MAX, ErrorCodes.FLOW_CONTROL_ERROR),
    SettingCodes.MAX_FRAME_SIZE: (frames.PAYLOAD_BYTES_MAX, 2**24 - 1, ErrorCodes.PROTOCOL_ERROR),
}
ACKNOWLEDGED = frames.frame(frames.SETTINGS, frames.ACK, 0)


def announced(settings: Mapping[SettingCodes, int]) -> bytes:
    """SETTINGS."""
    packed = (_SETTING.pack(code, value) for code, value in settings.items())
    return frames.frame(frames.SETTINGS, 0, 0, b"".join(packed))


def received(payload: bytes) -> dict[int, int]:
    """What a peer announces, the last word for each; also what nobody here knows, which is not kept.

    Raises:
        Malformed: these are no settings, or one is what it may not be.
    """
    if len(payload) % _SETTING.size:
        raise Malformed(ErrorCodes.FRAME_SIZE_ERROR, "settings that are cut off")
    found: dict[int, int] = dict(_SETTING.iter_unpack(payload))
    for code, (least, most, error) in _RANGES.items():
        if not least <= found.get(code, least) <= most:
            raise Malformed(error, f"the setting {code} cannot be {found[code]}")
    return found
