"""What `func run` and `func deploy` serve, by func-python's own server; and called as func-python calls it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import asyncpg
import httpx
import pytest
import yaml

from function import Function
from function.func import own_url, require_usable
from functions import together
from knative.runtime.kustomize import collect
from knative.runtime.manifests import load
from tests.conftest import ROOT
from tests.function.scaffolding import order, serving, wait_until_answered, wait_until_ready

KEYS = "/.well-known/jwks.json"


def connections(url: str) -> int:
    """How many there are to a database, beside the one that asks."""

    async def count() -> int:
        connection = await asyncpg.connect(url)
        try:
            statement = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return int(await connection.fetchval(statement))
        finally:
            await connection.close()

    return asyncio.run(count())


def test_the_whole_api_is_served_in_one_process(tmp_path: Path, settings: dict[str, str]) -> None:
    """An order through users, tokens and orders, each on its own database; a stop closes them all."""
    with serving(tmp_path, PYTHONPATH=str(ROOT), **settings) as served:
        wait_until_ready(served)
        starts = [httpx.get(f"{served.url}{KEYS}").headers["server-timing"].partition(";dur")[0] for _ in range(2)]
        placed, _ = order(served.url)
        nowhere = httpx.get(f"{served.url}/nowhere")
        by_host = httpx.get(f"{served.url}/", headers={"host": "users-keys.shop.example.com"})
        private = httpx.get(f"{served.url}/", headers={"host": "orders-confirm.shop.svc.cluster.local"})
        code = served.stop()

    assert (placed["username"], placed["status"]) == ("ada", "placed")
    assert (nowhere.status_code, nowhere.headers["content-type"]) == (404, "application/problem+json")
    # The function itself has nothing there; what is called inside the cluster only is not here at all.
    assert (by_host.status_code, private.status_code) == (404, 404)
    assert starts == ["start;desc=cold", "start;desc=warm"]
    assert code == 0, served.log.read_text()
    assert "Traceback" not in served.log.read_text()
    assert [connections(settings[f"{area}_DATABASE_URL"]) for area in ("USERS", "ORDERS")] == [0, 0]


def test_events_are_served_at_a_path_for_each_function(tmp_path: Path, settings: dict[str, str]) -> None:
    """As Triggers with a `uri` send them, and by a host's name; callers' routes are not here."""
    event = {"ce-id": "1", "ce-source": "/x", "ce-type": "unknown.v1", "ce-specversion": "1.0"}
    sink = "http://127.0.0.1:9/shop/default"
    with serving(tmp_path, PYTHONPATH=str(ROOT), FUNCTION="events", K_SINK=sink, **settings) as served:
        wait_until_ready(served)
        by_path = httpx.post(f"{served.url}/orders-confirm", headers=event)
        by_host = httpx.post(served.url, headers={**event, "host": "payments-charge.shop.svc.cluster.local"})
        charge = httpx.get(f"{served.url}/payments-simulate/charges/unknown")
        route = httpx.get(f"{served.url}{KEYS}")

    reasons = [one.headers.get("wake-refused", "").replace("%20", " ") for one in (by_path, by_host)]
    assert reasons == [
        "orders-confirm does not know events of type unknown.v1",
        "payments-charge does not know events of type unknown.v1",
    ]
    assert (charge.status_code, route.status_code) == (404, 404)
    assert "charge" in charge.text


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"FUNCTION": "orders-plcae"}, "there is no function 'orders-plcae'; there are "),
        ({"FUNCTION": "users-rpc"}, "users-rpc answers gRPC"),
        ({}, "not set: DEADLETTERS_DATABASE_URL, ORDERS_DATABASE_URL, PAYMENTS_DATABASE_URL, USERS_DATABASE_URL;"),
        (
            {"FUNCTION": "users-get", "DATABASE_URL": "{{ secret:users-database:url }}"},
            "DATABASE_URL: func run reads no Secrets or ConfigMaps; give the value with --env DATABASE_URL=…",
        ),
    ],
)
def test_what_cannot_be_served_says_so_at_once(tmp_path: Path, variables: dict[str, str], reason: str) -> None:
    """Before it listens, in its last line."""
    with serving(tmp_path, PYTHONPATH=str(ROOT), **variables) as served:
        code = served.process.wait(30)

    assert code != 0
    assert reason in served.log.read_text().splitlines()[-1]


def test_a_secret_that_everybody_knows_is_never_ready(tmp_path: Path) -> None:
    """func-python lets nothing stop its start; the probes say why."""
    with serving(tmp_path, PYTHONPATH=str(ROOT), FUNCTION="users-keys", TOKEN_SIGNING_KEY="change-me") as served:
        alive, ready = [wait_until_answered(served, f"/health/{kind}") for kind in ("liveness", "readiness")]

    assert (alive.status_code, ready.status_code) == (500, 500)
    assert alive.text.startswith("start failed: TOKEN_SIGNING_KEY: this is a placeholder")


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Function:
    """users-keys, which needs no database."""
    monkeypatch.setenv("TOKEN_KEYS", json.dumps({"keys": []}))
    monkeypatch.delenv("K_SINK", raising=False)
    return Function(together.served("users-keys"))


async def test_a_request_waits_for_the_start(function: Function) -> None:
    """Which begins with func-python's own, although that awaits nothing; and is ended by its stop."""
    before = function.ready()
    function.start({})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(function.handle), base_url="http://x") as client:
        answer = await client.get(KEYS)
    ready = function.ready()
    function.stop()
    assert function._living is not None
    await function._living

    assert (answer.status_code, answer.json()) == (200, {"keys": []})
    assert (before, ready, function.alive()) == ((False, "not started"), (True, "ready"), (True, "alive"))
    assert function.ready()[0] is False


async def test_a_bug_is_answered_once(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """func-python would answer what was raised a second time."""
    monkeypatch.delenv("TOKEN_KEYS")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(function.handle), base_url="http://x") as client:
        answer = await client.get(KEYS)
    function.stop()
    assert function._living is not None
    await function._living

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("", "http://127.0.0.1:8080"),
        ("[::]:8080,0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("127.0.0.1:43210", "http://127.0.0.1:43210"),
    ],
)
def test_a_process_knows_where_it_listens(address: str, url: str) -> None:
    """As func-python is told it."""
    assert own_url({"LISTEN_ADDRESS": address}) == url


def test_func_yaml_names_every_setting() -> None:
    """Filled in from Secrets and ConfigMaps that the base has, nothing is missing in the API's process."""
    project = yaml.safe_load((ROOT / "func.yaml").read_text())
    variables = {one["name"]: one["value"] for one in project["run"]["envs"]}
    filled = {name: value.strip("{} ") for name, value in variables.items()}
    sources = {tuple(value.split(":")[:2]) for value in filled.values() if value.startswith(("secret:", "configMap:"))}
    kinds = {"Secret": "secret", "ConfigMap": "configMap"}
    there = {(kinds[one.kind], one.name) for one in collect(ROOT / "knative/overlays/local") if one.kind in kinds}
    platform = load(ROOT / "knative/overlays/cached")
    container = {
        variable.name
        for name in together.Together("api").services
        for variable in platform.services["shop", name].container.variables
    }
    require_usable(together.served("api"), filled)

    assert sources <= there
    # Those of a function alone, and what only an installation with a cache has.
    assert container - variables.keys() == {"DATABASE_URL", "CACHE_URL"}
