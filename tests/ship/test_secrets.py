"""Nothing that is shipped starts with a secret that everybody knows, whichever Secret it came from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from functions.secrets import KnownSecret, require_own
from tests.ship.built import KNATIVE, KUBERNETES, ROOT, build
from tests.ship.pods import pod_template

# What comes from a Secret and is none.
PUBLIC = {"ADMIN_USERNAME"}
# Our Broker's, which is no function; and Jobs of dbmate alone, whose database's functions refuse the same.
BROKERS = {"NATS_URL", "RABBITMQ_URL"}


def secret_variables(overlay: str) -> Iterator[str]:
    """The names of all variables that come from Secrets."""
    for body in build(overlay):
        template = pod_template(body)
        for container in [] if template is None else template["spec"]["containers"]:
            for one in container.get("env") or ():
                if "secretKeyRef" in one.get("valueFrom", {}):
                    yield one["name"]


@pytest.mark.parametrize("overlay", [*KNATIVE, *KUBERNETES])
def test_every_secret_is_held_against_what_everybody_knows(overlay: str) -> None:
    """The placeholder is refused in each of them, also as a URL's password."""
    names = set(secret_variables(overlay)) - PUBLIC - BROKERS
    assert len(names) > 7

    for name in names:
        value = "scheme://us:change-me@elsewhere.example.com/x" if name.endswith("_URL") else "change-me"
        with pytest.raises(KnownSecret, match=f"^{name}: "):
            require_own({name: value})


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("NATS_URL", "nats://wake:change-me@nats.example.com:4222"),
        ("RABBITMQ_URL", "amqp://guest:guest@rabbitmq.example.com"),
    ],
)
def test_our_broker_refuses_too(name: str, url: str) -> None:
    """Before it connects, and without saying the password."""
    done = subprocess.run(
        [sys.executable, "-m", "eventing.broker", "--manifest", "none.yaml", "--port", "0"],
        cwd=ROOT,
        env={**{key: value for key, value in os.environ.items() if key not in BROKERS}, name: url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("The channel's password (CHANNEL_URL, NATS_URL, RABBITMQ_URL) is a placeholder")
    assert "example.com" not in done.stderr
