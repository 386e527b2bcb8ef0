"""What `func run` serves: called as func-python calls it."""

from __future__ import annotations

import json

import httpx
import pytest

from function import new


async def test_it_serves_the_function_that_function_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app's own start-up runs although func-python keeps the lifespan to itself."""
    monkeypatch.setenv("FUNCTION", "users-keys")
    monkeypatch.setenv("TOKEN_KEYS", json.dumps({"keys": []}))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    function = new()
    function.start({})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(function.handle), base_url="http://x") as client:
        answer = await client.get("/.well-known/jwks.json")

    assert (answer.status_code, answer.json()) == (200, {"keys": []})
    assert function.alive() == (True, "alive")
    assert function.ready() == (True, "ready")
    function.stop()
    assert function._stopping is not None
    await function._stopping


def test_an_unknown_name_is_answered_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """At start, not at the first request."""
    monkeypatch.setenv("FUNCTION", "orders-plcae")
    with pytest.raises(ValueError, match="orders-place"):
        new()
