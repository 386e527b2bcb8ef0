"""The Job that makes the admin."""

from __future__ import annotations

from typing import Any

import pytest

from functions.identity import TokenSettings, verify
from functions.users.seed import seed


async def test_the_admin_can_sign_in_and_a_second_run_changes_the_password(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token says admin; seeding again is how its password is replaced."""
    served = await serve("users.sign_in")
    monkeypatch.setenv("ADMIN_USERNAME", "admin")
    form = {"grant_type": "password", "username": "admin"}
    for password in ("first password", "second password"):
        monkeypatch.setenv("ADMIN_PASSWORD", password)
        await seed()
        answer = await served.client.post("/tokens", data={**form, "password": password})
        assert verify(answer.json()["access_token"], TokenSettings.from_environment()).is_admin

    assert (await served.client.post("/tokens", data={**form, "password": "first password"})).status_code == 401
