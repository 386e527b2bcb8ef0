"""Signatures, as Standard Webhooks has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.payments.webhooks import BadSignature, key_of, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_example_of_the_specification() -> None:
    """Its secret, its message, its signature."""
    headers = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200), st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40))
def test_what_was_signed_is_verified(body: bytes, message_id: str) -> None:
    """By any of several secrets, within five minutes."""
    headers = sign(SECRET, message_id, 1000, body)

    assert verify(["another", SECRET], headers, body, 1299) == message_id


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "2"},
        {"webhook-timestamp": "1001"},
        {"webhook-timestamp": "9" * 20},
        {"webhook-timestamp": "x"},
        {"webhook-id": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,not base64"},
        {"webhook-signature": "v2,AAAA"},
    ],
)
def test_anything_else_is_refused(changed: dict[str, str]) -> None:
    """One header changed."""
    headers = {**sign(SECRET, "1", 1000, b"x"), **changed}
    with pytest.raises(BadSignature):
        verify([SECRET], headers, b"x", 1000)


def test_old_and_future_calls_are_refused() -> None:
    """More than five minutes off."""
    headers = sign(SECRET, "1", 1000, b"x")
    for now in (1301, 699):
        with pytest.raises(BadSignature):
            verify([SECRET], headers, b"x", now)


def test_a_plain_secret_is_its_bytes() -> None:
    """Without whsec_."""
    assert key_of("plain") == b"plain"
