"""Several functions in one process: requests go where the gateway would send them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import together
from functions.together import Together, function_of
from knative.runtime import ingress
from knative.runtime.manifests import load
from tests.conftest import ROOT

KNOWN = together.services()
TABLE = together.routes(KNOWN)
ELEMENTS = st.sampled_from(["orders", "users", "payments", "webhooks", "deadletters", "redrives", "tokens", "x", ""])
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "PUT")


def scope(method: str, path: str, host: str = "localhost:8080") -> dict[str, Any]:
    """A request's."""
    return {"method": method, "path": path, "headers": [(b"host", host.encode())]}


@pytest.mark.parametrize(
    ("method", "path", "function"),
    [
        ("POST", "/orders/", "orders-place"),
        ("POST", "/orders", "orders-place"),
        ("GET", "/orders/", "orders-list"),
        ("GET", "/orders/7", "orders-get"),
        ("POST", "/orders/7/cancel", "orders-cancel"),
        ("POST", "/payments/webhooks/stripe", "payments-webhook"),
        ("POST", "/payments/7/refunds", "payments-refund-part"),
        ("HEAD", "/.well-known/jwks.json", "users-keys"),
        ("GET", "/ordersx", None),
        ("PUT", "/orders/", None),
        ("POST", "/", None),
        ("POST", "/wake.users.v1.UsersService/VerifyBuyer", None),
    ],
)
def test_a_request_goes_by_method_and_path(method: str, path: str, function: str | None) -> None:
    """As the HTTPRoutes say."""
    assert function_of(scope(method, path), list(KNOWN), TABLE) == function


@given(st.sampled_from(METHODS), st.lists(ELEMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts)))
def test_it_is_the_gateways_own_order(method: str, path: str) -> None:
    """The routes as Envoy is given them, read as Envoy reads them."""
    assert function_of(scope(method, path), list(KNOWN), TABLE) == through_envoy(method, path)


ROUTES = sorted(
    (
        (match, route.service[1])
        for route in load(ROOT / "knative/overlays/local").routes
        for match in route.matches
        if route.service[1] in KNOWN
    ),
    key=lambda pair: ingress.precedence(pair[0]),
)


def through_envoy(method: str, path: str) -> str | None:
    """Which function Envoy's configuration leads to."""
    for match, function in ROUTES:
        made = ingress.match_of(match)
        prefix = made.get("path_separated_prefix")
        fits = path == made.get("path") or (prefix is not None and f"{path}/".startswith(f"{prefix}/"))
        methods = [header["string_match"]["exact"] for header in made.get("headers", ())]
        if fits and (not methods or method in methods):
            return function
    return None


@pytest.mark.parametrize(
    ("host", "function"),
    [
        ("users-keys.shop.example.com", "users-keys"),
        ("users-keys.shop.localhost:8080", "users-keys"),
        ("users-keys", None),
        ("orders-confirm.shop.svc.cluster.local", None),
        ("nobody.example.com", None),
        ("", None),
    ],
)
def test_a_request_goes_by_the_hosts_name(host: str, function: str | None) -> None:
    """As through the gateway; what is called inside the cluster only is not among what callers reach."""
    assert function_of(scope("POST", "/", host), list(Together("api").apps), TABLE) == function


def test_every_function_over_http_is_in_one_of_the_groups() -> None:
    """And gRPC in neither."""
    api, events = (set(Together(group).apps) for group in together.GROUPS)

    assert (api & events, api | events) == (set(), set(KNOWN))
    assert {"users-rpc", "orders-rpc"}.isdisjoint(KNOWN)


def test_areas_keep_to_their_own_databases() -> None:
    """By the names of the Secrets; the card simulator is of no area."""
    wanted = {name: one.database for name, one in KNOWN.items()}

    assert {one for name, one in wanted.items() if name.startswith("orders-")} == {"ORDERS_DATABASE_URL"}
    assert {one for name, one in wanted.items() if name.startswith("users-")} == {"USERS_DATABASE_URL", None}
    assert wanted["payments-simulate"] == "CARDS_DATABASE_URL"
    with pytest.raises(
        ValueError, match="not set: DEADLETTERS_DATABASE_URL, PAYMENTS_DATABASE_URL, USERS_DATABASE_URL;"
    ):
        Together("api").require({"ORDERS_DATABASE_URL": "x"})
