"""No function starts with a secret that everybody knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from functions.secrets import KnownSecret, require_own
from tests.functions.test_serve import environment

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://wake:change-me@db.example.com/wake_orders"),
        ("ORDERS_DATABASE_URL", "postgresql://wake:wake@db.example.com/wake_orders"),
        ("DATABASE_URL", "postgresql://app:postgres@db.example.com/wake_orders"),
        ("DATABASE_URL", "postgresql://app:app@db.example.com/wake_orders"),
        ("CACHE_URL", "redis://:change-me@cache.example.com:6379/0"),
        ("CACHE_URL", "rediss://default:default@cache.example.com:6379/0"),
        ("WEBHOOK_SECRET", "change-me"),
        ("WEBHOOK_SECRET", "whsec_bG9uZyBhbmQgcmFuZG9t secret"),
        ("WEBHOOK_SECRET", ""),
        ("ADMIN_PASSWORD", "Admin"),
        ("TOKEN_SIGNING_KEY", '{"d": "change-me"}'),
        ("STRIPE_API_KEY", "change-me"),
        ("TOKEN_KEYS", "change-me"),
    ],
)
def test_a_known_secret_is_refused_by_name(name: str, value: str) -> None:
    """The value is not in the message: messages end up in logs."""
    with pytest.raises(KnownSecret, match=f"^{name}: ") as refused:
        require_own({name: value})

    assert "example.com" not in str(refused.value)


def test_secrets_of_ones_own_are_taken() -> None:
    """Also a database on this machine with whatever password, and one that asks for none."""
    require_own(
        {
            "DATABASE_URL": "postgresql://wake:5u-Xq2kP@db.example.com/wake",
            "USERS_DATABASE_URL": "postgresql://postgres:postgres@localhost/wake",
            "ORDERS_DATABASE_URL": "postgresql://wake@db.example.com/wake?sslcert=client.pem",
            "CACHE_URL": "redis://cache.example.com:6379/0",
            "WEBHOOK_SECRET": "whsec_bG9uZyBhbmQgcmFuZG9t",
            "LOG_LEVEL": "",
        }
    )


@pytest.mark.parametrize(
    "command", [["functions", "orders-get"], ["functions.users.seed"]], ids=["a function", "the seed"]
)
def test_the_process_refuses_to_start_and_says_which(command: list[str]) -> None:
    """Both at once, so that nobody mends them one by one."""
    known = {"DATABASE_URL": "postgresql://wake:change-me@db.example.com/wake", "ADMIN_PASSWORD": "password"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment(PORT="0", **known),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode != 0
    assert "ADMIN_PASSWORD, DATABASE_URL: this is a placeholder" in done.stdout + done.stderr
