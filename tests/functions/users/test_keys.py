"""users-keys."""

from __future__ import annotations

from typing import Any


async def test_the_public_keys_are_published_without_any_private_part(serve: Any) -> None:
    """A JWK set that may be kept for five minutes, and 304 to who has it."""
    served = await serve("users.keys")
    answer = await served.client.get("/.well-known/jwks.json")
    again = await served.client.get("/.well-known/jwks.json", headers={"if-none-match": answer.headers["etag"]})
    (key,) = answer.json()["keys"]

    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert "max-age=300" in answer.headers["cache-control"]
    assert "d" not in key
    assert again.status_code == 304
