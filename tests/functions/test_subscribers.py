"""Whom a redrive or a replay may call: subscribers of known Triggers, and nobody else, whatever an event says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.subscribers import known, of_destination

URL = "http://payments-charge.shop.svc.cluster.local"
TRIGGERS = known(
    json.dumps(
        [
            {"name": "payments-charge", "subscriber": URL, "spec": {"filter": {"attributes": {"type": "a"}}}},
            {"name": "orders-confirm", "subscriber": "http://orders-confirm.shop.svc.cluster.local/", "spec": {}},
        ]
    )
)


@pytest.mark.parametrize(
    "destination",
    [
        URL,
        URL + "/",
        "https://payments-charge.shop.svc.cluster.local",
        URL + ":80",
        "payments-charge",
        URL.upper().replace("HTTP", "http"),
    ],
)
def test_a_known_subscriber_is_found(destination: str) -> None:
    """As a Broker writes it, or a function its own name; what is called is the URL of the YAML."""
    assert of_destination(destination, TRIGGERS) == URL


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "http://",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:8082/shop/default",
        URL + ":8080",
        URL + "/admin",
        URL + "?x",
        URL + "#x",
        "http://payments-charge@169.254.169.254/",
        "http://payments-charge.shop.svc.cluster.local@169.254.169.254/",
        "http://169.254.169.254#@payments-charge.shop.svc.cluster.local",
        "http://payments-charge.other.svc.cluster.local",
        "http://payments-charge.shop.svc.cluster.local.example.com",
        "file:///etc/passwd",
        "gopher://payments-charge.shop.svc.cluster.local",
        "http://[::1",
        "http://payments-charge.shop.svc.cluster.local:99999",
        "payments-charge.shop.svc.cluster.local",
        "deadletters-redrive",
        "payments-charge\0",
    ],
)
def test_anything_else_is_nobody(destination: str) -> None:
    """Whoever can send an event to the Broker can write anything into knativeerrordest."""
    assert of_destination(destination, TRIGGERS) is None


@given(st.text() | st.text("htps:/@.#?[]a1-\\").map(lambda rest: URL + rest))
def test_what_is_called_stands_in_the_yaml(destination: str) -> None:
    """Always a subscriber's own URL, or nothing."""
    assert of_destination(destination, TRIGGERS) in {None, *(one.subscriber for one in TRIGGERS)}
