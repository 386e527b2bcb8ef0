"""Every door, each a process of its own as it is in production, all on one database that can be taken away."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventing.event import to_binary, to_structured
from knative.runtime import child, postgres
from tests.conftest import ROOT, sql
from tests.flows.conftest import Installation
from tests.function.scaffolding import serving, wait_until_ready
from tests.functions.aws.runtime_api import Lambda, running
from tests.functions.conftest import KEY, Users
from tests.functions.doors import events, requests
from tests.functions.processes import Function

_NAME = "orders_behind_doors"
_OFTEN = {"retry": 50, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"}
_YAML = ("settings", "gateway", "broker", "orders/place", "orders/get", "orders/rpc", "orders/confirm")
_NOWHERE = "postgresql://nobody@127.0.0.1:9/nothing"


class Orders:
    """The orders' database."""

    def __init__(self, server: postgres.Postgres) -> None:
        self._server = server
        self.url = server.url(_NAME)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nobody reaches it meanwhile, over old connections or new ones."""
        self._move(_NAME, f"{_NAME}_away")
        try:
            yield
        finally:
            self._move(f"{_NAME}_away", _NAME)

    def _move(self, before: str, after: str) -> None:
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{before}'"
        # At once: it is locked from the first of them, so that nobody connects before the last.
        sql(
            self._server,
            f"ALTER DATABASE {before} WITH ALLOW_CONNECTIONS false; {ended};"
            f"ALTER DATABASE {before} RENAME TO {after}; ALTER DATABASE {after} WITH ALLOW_CONNECTIONS true",
        )


@pytest.fixture(scope="session")
def orders(postgres_server: postgres.Postgres, migrated_template: Callable[[str], str]) -> Iterator[Orders]:
    """One for the whole session."""
    sql(postgres_server, f"CREATE DATABASE {_NAME} TEMPLATE {migrated_template('orders')} STRATEGY FILE_COPY")
    yield Orders(postgres_server)
    sql(postgres_server, f"DROP DATABASE {_NAME} WITH (FORCE)")


@pytest.fixture(scope="session")
def settings(orders: Orders, users: Users) -> dict[str, str]:
    """What every function behind a door finds; which area's database is whose says its variable, or it is the only."""
    return {
        "DATABASE_URL": orders.url,
        "ORDERS_DATABASE_URL": orders.url,
        **{f"{area}_DATABASE_URL": _NOWHERE for area in ("USERS", "PAYMENTS", "DEADLETTERS")},
        "TOKEN_KEYS": json.dumps({"keys": [KEY.as_dict(private=False)]}),
        "USERS_RPC_URL": users.rpc.url,
        "USERS_GET_URL": users.get.url,
        "LOG_LEVEL": "error",
    }


class Doors:
    """Makes doors by their names; what one needs is started when it is first asked for, and ended with the session."""

    def __init__(self, settings: dict[str, str], request: pytest.FixtureRequest, folder: Callable[[str], Path]) -> None:
        self._settings, self._request, self._folder = settings, request, folder
        self._started: dict[tuple[str, str], Any] = {}
        self.stack = contextlib.ExitStack()

    def request(self, name: str) -> requests.Door:
        """A door of requests."""
        if name == "http":
            return requests.OverHttp(self._process("orders-place").url, self._process("orders-get").url)
        if name == "grpc":
            return requests.OverGrpc(self._process("orders-rpc").port)
        if name == "func":
            url = self._func("api")
            return requests.OverHttp(url, url)
        if name.startswith("gateway"):
            port = self._installation().port
            url = f"http://127.0.0.1:{port}"
            return requests.OverGrpc(port) if name == "gateway grpc" else requests.OverHttp(url, url, tells_twice=False)
        gateway = name.removeprefix("lambda ")
        return requests.OverLambda(gateway, self._lambda("orders-place"), self._lambda("orders-get"))

    def event(self, name: str) -> events.Door:
        """A door of events."""
        if name in {"binary", "structured"}:
            write = to_binary if name == "binary" else to_structured
            return events.OverHttp(self._process("orders-confirm").url, write)
        if name in {"nats", "rabbitmq"}:
            return self._queue(name)
        if name == "trigger":
            up = self._installation()
            return events.OverQueue(f"http://127.0.0.1:{up.broker_port}/shop/default", up.folder / "state/events.jsonl")
        if name == "func":
            return events.OverHttp(self._func("orders-confirm"), to_binary)
        return events.OverLambda(name.removeprefix("lambda "), self._lambda("orders-confirm"))

    def _once(self, kind: str, name: str, start: Callable[[], Any]) -> Any:
        if (kind, name) not in self._started:
            self._started[kind, name] = start()
        return self._started[kind, name]

    def _process(self, name: str) -> Function:
        def start() -> Function:
            made = Function(name, **self._settings)
            self.stack.callback(made.close)
            made.start()
            return made

        found: Function = self._once("process", name, start)
        return found

    def _func(self, function: str) -> str:
        def start() -> str:
            variables = {**self._settings, "PYTHONPATH": str(ROOT), "USERS_CALLS": "http", "FUNCTION": function}
            served = self.stack.enter_context(serving(self._folder("func"), **variables))
            wait_until_ready(served)
            return served.url

        found: str = self._once("func", function, start)
        return found

    def _lambda(self, name: str) -> Lambda:
        variables = {**self._settings, "USERS_CALLS": "http", "FUNCTION": name}
        start = functools.partial(running, self._folder("lambda"), **variables)
        found: Lambda = self._once("lambda", name, lambda: self.stack.enter_context(start()))
        return found

    def _installation(self) -> Installation:
        start = functools.partial(_up, self._folder("up"), self._settings)
        found: Installation = self._once("up", "", lambda: self.stack.enter_context(start()))
        return found

    def _queue(self, name: str) -> events.OverQueue:
        url, subscriber = self._request.getfixturevalue(f"{name}_url"), self._process("orders-confirm").url
        start = functools.partial(_broker, self._folder("broker"), url, subscriber)
        found: events.OverQueue = self._once("queue", name, lambda: self.stack.enter_context(start()))
        return found


@pytest.fixture(scope="session")
def doors(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]
) -> Iterator[Doors]:
    """All of them."""
    made = Doors(settings, request, tmp_path_factory.mktemp)
    with made.stack:
        yield made


@contextlib.contextmanager
def _up(folder: Path, settings: Mapping[str, str]) -> Iterator[Installation]:
    """`wake up` with the YAML of these functions, on the database and the users of the other doors."""
    base, overlay = os.path.relpath(ROOT / "knative/base", folder / "overlay"), folder / "overlay"
    users = {name: settings[name] for name in ("USERS_RPC_URL", "USERS_GET_URL")}
    changes = {
        "ConfigMap": [{"op": "replace", "path": f"/data/{name}", "value": url} for name, url in users.items()],
        "Broker": [{"op": "replace", "path": "/spec/delivery", "value": _OFTEN}],
        # The function says what it does not handle, and not the Trigger.
        "Trigger": [{"op": "remove", "path": "/spec/filter"}],
    }
    kustomization = {
        "namespace": "shop",
        "resources": ["secrets.yaml", *(f"{base}/{one}.yaml" for one in _YAML)],
        "patches": [{"target": {"kind": kind}, "patch": json.dumps(patch)} for kind, patch in changes.items()],
    }
    held = {"orders-database": {"url": settings["DATABASE_URL"]}, "token-keys": {"public.json": settings["TOKEN_KEYS"]}}
    secrets = [{"kind": "Secret", "metadata": {"name": name}, "stringData": data} for name, data in held.items()]
    overlay.mkdir()
    (overlay / "secrets.yaml").write_text(yaml.safe_dump_all({"apiVersion": "v1", **one} for one in secrets))
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    made = Installation(folder)
    try:
        made.up("-f", str(overlay))
        yield made
    finally:
        if made.process is not None:
            made.stop()


@contextlib.contextmanager
def _broker(folder: Path, url: str, subscriber: str) -> Iterator[events.OverQueue]:
    """Our Broker over a real server, with one Trigger."""
    port, namespace = child.free_port(), f"doors{os.getpid()}"
    manifest, journal = folder / "broker.yaml", folder / "journal.jsonl"
    metadata = {"namespace": namespace, "name": "default"}
    documents = [
        {"kind": "Broker", "metadata": metadata, "spec": {"delivery": _OFTEN}},
        {
            "kind": "Trigger",
            "metadata": metadata,
            "spec": {"broker": "default", "subscriber": {"uri": f"{subscriber}/"}},
        },
    ]
    manifest.write_text(yaml.safe_dump_all(documents))
    process = subprocess.Popen(
        [sys.executable, "-m", "eventing.broker", f"--manifest={manifest}", f"--port={port}", f"--journal={journal}"],
        cwd=ROOT,
        env={**os.environ, "CHANNEL_URL": url, "CHANNEL_SETTLE_SECONDS": "0"},
    )
    try:
        deadline = time.monotonic() + 20
        while not child.accepts("127.0.0.1", port):
            assert process.poll() is None, "the Broker has ended"
            assert time.monotonic() < deadline, "the Broker does not listen"
            time.sleep(0.01)
        ingress = f"http://127.0.0.1:{port}/{namespace}/default"
        yield events.OverQueue(ingress, journal)
    finally:
        process.kill()
        process.wait()
