"""Signed webhooks, as Standard Webhooks has them (standardwebhooks.com, specification 1.0). Pure.

The signature is HMAC-SHA256 over `ID.TIMESTAMP.BODY`, the body's very bytes; the header may hold several, so that a
secret can be changed. A timestamp outside the window is refused: an old call cannot be played again later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

WINDOW_SECONDS = 300


class BadSignature(ValueError):
    """The call is not from whom it says; which check failed is not told to the caller."""


def key_of(secret: str) -> bytes:
    """A secret's bytes: base64 after `whsec_`, or as it stands.

    Raises:
        ValueError: it begins with `whsec_` and is no base64.
    """
    if secret.startswith("whsec_"):
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return secret.encode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a call."""
    signature = base64.b64encode(_digest(key_of(secret), message_id, str(timestamp), body)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The id of a call whose signature is one of ours, made within five minutes of *now* (seconds since 1970).

    Raises:
        BadSignature: it is not.
    """
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or len(message_id) > 255 or not timestamp.isascii() or not timestamp.isdigit():
        raise BadSignature("a header is missing")
    if len(timestamp) > 12 or abs(now - int(timestamp)) > WINDOW_SECONDS:
        raise BadSignature("it is too old, or from the future")
    expected = [_digest(key_of(secret), message_id, timestamp, body) for secret in secrets]
    for one in headers.get("webhook-signature", "").split()[:10]:
        version, _, text = one.partition(",")
        try:
            given = base64.b64decode(text, validate=True)
        except ValueError:
            continue
        if version == "v1" and any(hmac.compare_digest(given, digest) for digest in expected):
            return message_id
    raise BadSignature("no signature fits")


def _digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
