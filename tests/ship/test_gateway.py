"""The plain Envoy that stands in for the Gateway API: a real one, on the configuration that is shipped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from knative.runtime import child, programs
from tests.servers import quiet
from tests.ship.built import build, of_kind

CONFIGURATION = of_kind(build("nats-envoy"), "ConfigMap")["gateway"]["data"]["envoy.json"]


def test_nothing_of_the_gateway_api_is_left() -> None:
    """A cluster that does not know its kinds would refuse them all."""
    assert not any(one["apiVersion"].startswith("gateway.") for one in build("nats-envoy"))
    assert of_kind(build("nats-envoy"), "Service", "v1")["gateway"]["spec"]["type"] == "LoadBalancer"


def test_envoy_takes_the_configuration_as_it_is_shipped(tmp_path: Path) -> None:
    """Its own validation."""
    file = tmp_path / "envoy.json"
    file.write_text(CONFIGURATION)
    done = subprocess.run(
        [programs.find("envoy"), "--mode", "validate", "-c", str(file), "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@contextlib.asynccontextmanager
async def functions() -> AsyncIterator[int]:
    """A server that answers every request with the name it was called by."""

    @quiet
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            host = next(line for line in head.split("\r\n") if line.lower().startswith("host:"))[5:].strip()
            body = host if "/long" not in head else f'["{host}", "{"x" * 2000}"]'
            headers = f"content-type: application/json\r\nx-told: {_told(head)}\r\ncontent-length: {len(body)}\r\n"
            headers += 'etag: "1"\r\n' if "/tagged" in head else ""
            writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n{body}".encode())
            await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _told(head: str) -> str:
    """How long the function has, by what the gateway says."""
    return head.lower().partition("x-envoy-expected-rq-timeout-ms: ")[2].partition("\r")[0]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Any]:
    """Starts Envoy with the shipped routes; only the addresses are this machine's."""
    processes = []

    def start(functions_port: int) -> int:
        port = child.free_port()
        configuration = json.loads(CONFIGURATION)
        resources = configuration["static_resources"]
        resources["listeners"][0]["address"] = _address(port)
        for cluster in resources["clusters"]:
            (place,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
            place["endpoint"]["address"] = _address(functions_port)
        file = tmp_path / "envoy.json"
        file.write_text(json.dumps(configuration))
        command = [programs.find("envoy"), "-c", str(file), "--log-level", "error", "--disable-hot-restart"]
        process = child.start([*command, "--concurrency", "1"], log=tmp_path / "log")
        processes.append(process)
        child.wait_until(lambda: child.accepts("127.0.0.1", port), process, tmp_path / "log", seconds=30)
        return port

    yield start
    for process in processes:
        child.stop(process, patience_seconds=1.0)


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


ROUTED = [
    ("POST", "/orders/", "orders-place"),
    ("GET", "/orders/", "orders-list"),
    ("GET", "/orders/01a2", "orders-get"),
    ("POST", "/orders/01a2/cancel", "orders-cancel"),
    ("POST", "/tokens", "users-sign-in"),
    ("DELETE", "/users/ada", "users-deactivate"),
    ("POST", "/payments/webhooks/simulator", "payments-webhook"),
]


async def test_requests_reach_the_function_that_the_route_names(gateway: Any) -> None:
    """By method and path, under the function's own name, which is how Knative tells them apart."""
    async with functions() as port:
        base = f"http://127.0.0.1:{await asyncio.to_thread(gateway, port)}"
        async with httpx.AsyncClient(trust_env=False) as http:
            called = [(await http.request(method, base + path)).text for method, path, _ in ROUTED]
            nowhere = await http.get(base + "/nowhere")

    assert called == [f"{name}.shop.svc.cluster.local" for _, _, name in ROUTED]
    assert nowhere.status_code == 404
    assert nowhere.headers["content-type"] == "application/problem+json"


async def test_it_compresses_says_the_deadline_and_lets_nobody_lengthen_it(gateway: Any) -> None:
    """Long JSON, but for what has a strong tag; the route's own time-out, whatever a caller from outside says."""
    async with functions() as port:
        base = f"http://127.0.0.1:{await asyncio.to_thread(gateway, port)}"
        longer = {"x-envoy-upstream-rq-timeout-ms": "900000", "x-envoy-expected-rq-timeout-ms": "900000"}
        async with httpx.AsyncClient(trust_env=False, headers={"accept-encoding": "gzip", **longer}) as http:
            long = await http.get(f"{base}/orders/long")
            tagged = await http.get(f"{base}/orders/long/tagged")
            headed = await http.head(f"{base}/orders/short")

    assert long.headers["content-encoding"] == "gzip"
    assert ("content-encoding" in tagged.headers, tagged.headers["etag"]) == (False, '"1"')
    assert (headed.status_code, long.headers["x-told"]) == (200, "300000")
