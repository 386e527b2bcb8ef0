"""The gateway: the real Envoy in front of small servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from knative.runtime import child, envoy, history, ingress
from knative.runtime import gateway as gateway_
from knative.runtime.manifests import load
from knative.runtime.state import State
from tests.servers import quiet

ROOT = Path(__file__).parent.parent.parent.parent


@dataclass
class Gateway:
    """Envoy with every Service answered by one server, which says which Service it stands for."""

    public: str
    internal: str
    client: httpx.AsyncClient
    running: envoy.Envoy


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """The real Envoy, configured by Wake's own YAML."""
    platform = load(ROOT / "knative/overlays/local")
    servers, ports = [], {}
    for key in platform.services:

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = key[1]) -> None:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                body = json.dumps({"name": name, "line": lines[0], "head": lines, "pad": "x" * 2000}).encode()
                if "/die" in lines[0]:
                    return
                answered = {"content-type": "application/json", "content-length": str(len(body)), **_asked_for(lines)}
                text = "".join(f"{name}: {value}\r\n" for name, value in answered.items())
                writer.write(f"HTTP/1.1 200 OK\r\n{text}\r\n".encode())
                writer.write(b"" if lines[0].startswith("HEAD") else body)

        server = await asyncio.start_server(quiet(take), "127.0.0.1", 0)
        servers.append(server)
        ports[key] = server.sockets[0].getsockname()[1]
    admin = State(tmp_path).socket("a.sock") if len(str(tmp_path)) > 80 else tmp_path / "a.sock"
    listen = ingress.EnvoyPorts("127.0.0.1", child.free_port(), child.free_port(), str(admin))
    made = gateway_.Gateway(tmp_path / "envoy", listen)
    routed = history.revise(platform, tmp_path / "revisions.json")
    places = {
        ingress.cluster_name(namespace, one.service.revision): [ports[namespace, name]]
        for (namespace, name), one in routed.items()
    }
    await made.configure(routed, platform.routes, places)
    running = made.start(tmp_path / "log")
    await asyncio.to_thread(running.wait_until_ready)
    async with httpx.AsyncClient() as client:
        yield Gateway(
            f"http://127.0.0.1:{listen.public_port}", f"http://127.0.0.1:{listen.internal_port}", client, running
        )
    running.stop()
    for server in servers:
        server.close()


def _asked_for(lines: list[str]) -> dict[str, str]:
    """The headers of an answer that a request asks for: `answer-etag: "1"`."""
    pairs = [line.partition(": ") for line in lines if line.startswith("answer-")]
    return {name.removeprefix("answer-"): value for name, _, value in pairs}


ROUTES = [
    ("POST", "/users/", "users-register"),
    ("POST", "/users", "users-register"),
    ("GET", "/users/", "users-list"),
    ("GET", "/users/ada", "users-get"),
    ("HEAD", "/users/ada", "users-get"),
    ("HEAD", "/orders/", "orders-list"),
    ("PATCH", "/users/ada", "users-update"),
    ("DELETE", "/users/ada", "users-deactivate"),
    ("POST", "/tokens", "users-sign-in"),
    ("GET", "/.well-known/jwks.json", "users-keys"),
    ("POST", "/orders/", "orders-place"),
    ("GET", "/orders/?limit=2", "orders-list"),
    ("GET", "/orders/1", "orders-get"),
    ("POST", "/orders/1/cancel", "orders-cancel"),
    ("GET", "/payments/1", "payments-get"),
    ("POST", "/payments/1/refunds", "payments-refund-part"),
    ("POST", "/payments/webhooks/simulator", "payments-webhook"),
    ("GET", "/deadletters/", "deadletters-list"),
    ("GET", "/deadletters/1", "deadletters-show"),
]


async def test_requests_go_where_the_routes_say(gateway: Gateway) -> None:
    """By method and path, the most precise first; by host, outside and inside; nothing event-driven from outside."""
    for method, path, name in ROUTES:
        answer = await gateway.client.request(method, gateway.public + path)
        assert (200, "" if method == "HEAD" else name) == (
            answer.status_code,
            "" if method == "HEAD" else answer.json()["name"],
        )
    for url, host, name in (
        (gateway.public, "orders-get.shop.localhost:8080", "orders-get"),
        (gateway.internal, "payments-charge.shop.svc.cluster.local", "payments-charge"),
        (gateway.internal, "payments-charge.shop", "payments-charge"),
    ):
        answer = await gateway.client.get(url + "/x", headers={"host": host})
        assert answer.json()["name"] == name
    for path in ("/", "/nothing", "/userss", "/users//../orders"):
        hidden = await gateway.client.post(gateway.public + path, headers={"host": "payments-charge.shop.localhost"})
        assert hidden.status_code in {404, 400}


async def test_what_the_gateway_answers_itself_is_a_problem_document(gateway: Gateway) -> None:
    """404 for no route, 503 with Retry-After for a function that ended before it answered."""
    missing = await gateway.client.get(gateway.public + "/nothing")
    ended = await gateway.client.get(gateway.public + "/orders/die")

    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert (ended.status_code, ended.headers["retry-after"], ended.json()["status"]) == (503, "1", 503)


async def test_it_is_the_functions_proxy_and_sets_what_knative_sets(gateway: Gateway) -> None:
    """Absolute-form requests work; X-Forwarded headers are set; Knative's own headers cannot be sent from outside."""
    async with httpx.AsyncClient(proxy=gateway.internal) as client:
        proxied = await client.get("http://users-get.shop.svc.cluster.local/users/ada")
    outside = await gateway.client.get(
        gateway.public + "/users/ada", headers={"knative-serving-revision": "x", "x-a": "b"}
    )
    head = [line.lower() for line in outside.json()["head"]]

    assert proxied.json()["name"] == "users-get"
    assert "x-a: b" in head
    assert any(line.startswith("x-forwarded-proto: http") for line in head)
    assert any(line.startswith("x-forwarded-for: ") for line in head), head
    assert not any(line.startswith("knative-serving-revision") for line in head)


async def test_long_json_is_compressed_for_who_wants_it(gateway: Gateway) -> None:
    """gzip at the gateway."""
    answer = await gateway.client.get(gateway.public + "/users/ada", headers={"accept-encoding": "gzip"})
    plain = await gateway.client.get(gateway.public + "/users/ada", headers={"accept-encoding": "identity"})

    assert answer.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "answered",
    [
        # A compressed body is another representation, and its tag another.
        {"answer-etag": '"1"'},
        # Its messages are compressed by whoever sends them, each by itself.
        {"answer-content-type": "application/grpc"},
        {"answer-content-type": "application/grpc+proto"},
        {"answer-cache-control": "no-transform"},
    ],
)
async def test_what_is_to_stay_as_it_is_is_not_compressed(gateway: Gateway, answered: dict[str, str]) -> None:
    """A strong ETag goes through unchanged, with the very bytes that it stands for."""
    headers = {"accept-encoding": "gzip", **answered}
    answer = await gateway.client.get(gateway.public + "/users/ada", headers=headers)

    assert "content-encoding" not in answer.headers
    assert answer.headers.get("etag") == answered.get("answer-etag")


async def test_requests_are_counted_by_service(gateway: Gateway) -> None:
    """What the autoscaler looks at."""
    for _ in range(3):
        await gateway.client.get(gateway.public + "/users/ada")
    counts = await asyncio.to_thread(gateway.running.counts)

    assert envoy.Count(0, 3) == counts["shop/users-get-00001"]
