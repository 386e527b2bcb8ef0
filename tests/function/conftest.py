"""What the whole API finds in one process: a database for each area, and keys."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from joserfc.jwk import ECKey


@pytest.fixture
def settings(database_url: Callable[[str], str]) -> dict[str, str]:
    """Those of `api` and `events`."""
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, private=True, auto_kid=True)
    areas = ("users", "orders", "payments", "cards", "deadletters")
    return {
        **{f"{area.upper()}_DATABASE_URL": database_url(area) for area in areas},
        "TOKEN_KEYS": json.dumps({"keys": [key.as_dict(private=False)]}),
        "TOKEN_SIGNING_KEY": json.dumps(key.as_dict(private=True)),
        "WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
