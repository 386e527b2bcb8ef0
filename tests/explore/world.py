"""The order flow's real functions on a real PostgreSQL, with everything between them in the explorer's hand.

Every place where a process can die is a crossing: before and after each commit, publish, call of the card processor,
and acknowledgement. The broker here is a list of deliveries, so that the explorer can repeat and reorder them; the card
processor is the real simulator function, called directly, and users-rpc is served on loopback by this very process.
Nothing depends on time or chance.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from eventing.event import Event, to_binary
from eventing.filters import compile_filters
from eventing.transaction import Transaction
from functions.connections import Connections
from functions.database import Database, DatabaseSettings, connections
from functions.payments.cards.simulator import Simulator, SimulatorSettings
from functions.rpc.serving import server_of
from functions.users.rpc import app as users
from knative.runtime.manifests import load
from tests.checks.manifests import OVERLAY

AREAS = ("orders", "payments", "cards", "users")
FUNCTIONS = {
    "orders-place": "orders",
    "orders-cancel": "orders",
    "orders-confirm": "orders",
    "orders-reject": "orders",
    "orders-expire": "orders",
    "payments-charge": "payments",
    "payments-refund": "payments",
    "payments-settle": "payments",
    "payments-webhook": "payments",
    "payments-simulate": "cards",
}
KEY = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, private=True, auto_kid=True)
PING = Event(id="ping", source="/ping", type="dev.knative.sources.ping")


class Crash(BaseException):
    """The process dies here: nothing after this line of it happens."""


@dataclass
class Faults:
    """Where to crash: at the n-th crossing, counted from 1; and what was crossed so far."""

    crash_at: int | None = None
    crossed: list[str] = field(default_factory=list)
    dead: bool = False

    def crossing(self, where: str) -> None:
        """Pass one place, or die there. What is dead crosses nothing more."""
        if self.dead:
            raise Crash
        self.crossed.append(where)
        if len(self.crossed) == self.crash_at:
            self.dead = True
            raise Crash


class WatchedDatabase(Database):
    """The functions' own, with a crossing before and after each commit."""

    def __init__(self, pool: Connections, name: str, faults: Callable[[], Faults]) -> None:
        super().__init__(DatabaseSettings(""))
        self._connections = pool
        self._name = name
        self._faults = faults

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """As always; dying before the commit rolls it back."""
        async with super().transaction() as transaction:
            yield transaction
            self._faults().crossing(f"{self._name}: before commit")
        self._faults().crossing(f"{self._name}: after commit")


@dataclass(frozen=True)
class Delivery:
    """An event on its way to one Trigger's function."""

    function: str
    event: Event

    def __str__(self) -> str:
        """As a line of a trace."""
        return f"{self.event.type} to {self.function}"


class Broker:
    """Takes events, and makes a delivery of each to every Trigger that wants it."""

    def __init__(self, faults: Callable[[], Faults]) -> None:
        self._faults = faults
        self.pending: list[Delivery] = []
        self.published: list[Event] = []
        self._triggers = [
            (str(one.subscriber.name), compile_filters(one.body["spec"]))
            for one in load(OVERLAY).triggers
            if one.subscriber.name in FUNCTIONS
        ]

    async def publish(self, event: Event) -> None:
        """Store, with a crossing before and after."""
        self._faults().crossing(f"publish {event.type}: before")
        self.published.append(event)
        self.pending += [Delivery(name, event) for name, wants in self._triggers if wants(event.attributes)]
        self._faults().crossing(f"publish {event.type}: after")

    async def close(self) -> None:
        """Nothing to close."""


class WatchedSimulator(Simulator):
    """The adapter to the simulator, over the real function's app, with a crossing before and after each call."""

    def __init__(self, client: httpx.AsyncClient, faults: Callable[[], Faults]) -> None:
        super().__init__(SimulatorSettings("http://cards.test"))
        self._real, self._client = self._client, client
        self._watched = faults

    async def _sent(self, method: str, path: str, headers: Any, body: Any) -> Any:
        what = f"processor {method} {path.rpartition('/')[2] if 'charges/' in path else path}"
        self._watched().crossing(f"{what}: before")
        answer = await super()._sent(method, path, headers, body)
        self._watched().crossing(f"{what}: after")
        return answer

    async def close(self) -> None:
        """The client that is not used."""
        await self._real.aclose()


class World:
    """The functions, their databases and what is between them. `faults` is replaced at the start of each run."""

    def __init__(self, pools: dict[str, Connections]) -> None:
        self._pools = pools
        self.faults = Faults()
        self.broker = Broker(lambda: self.faults)
        self._apps: dict[str, Any] = {}
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._simulator: WatchedSimulator | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, urls: dict[str, str]) -> AsyncIterator[World]:
        """On these databases, one for each of AREAS."""
        os.environ |= {
            "TOKEN_KEYS": json.dumps({"keys": [KEY.as_dict(private=False)]}),
            "ORDER_EXPIRES_AFTER_SECONDS": "0",
            "WEBHOOK_SECRET": "explorers-own",
            "LOG_LEVEL": "critical",
        }
        for name in ("K_SINK", "DATABASE_URL", "WEBHOOK_URL"):
            os.environ.pop(name, None)
        async with contextlib.AsyncExitStack() as stack:
            pools = {area: await connections(DatabaseSettings(url, pool_max=3)) for area, url in urls.items()}
            for pool in pools.values():
                stack.push_async_callback(pool.close)
            world = cls(pools)
            os.environ["USERS_RPC_URL"] = await world._serve_users(stack)
            for name, area in FUNCTIONS.items():
                await world._serve(stack, name, area)
            world._simulator = WatchedSimulator(world._clients["payments-simulate"], lambda: world.faults)
            stack.push_async_callback(world._simulator.close)
            for app in world._apps.values():
                app.state.processor = world._simulator
            yield world

    async def _serve_users(self, stack: contextlib.AsyncExitStack) -> str:
        """users-rpc, which knows the buyer and has no faults: it writes nothing. Answers where it is."""
        await self._pools["users"].execute("INSERT INTO users VALUES ('ada', 'ada@example.com', 'none')")
        await stack.enter_async_context(users.lifespan())
        users.state.database = WatchedDatabase(self._pools["users"], "users-rpc", Faults)
        server = await stack.enter_async_context(server_of(users, os.environ))
        listener = socket.create_server(("127.0.0.1", 0))
        await server.start(listener)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def _serve(self, stack: contextlib.AsyncExitStack, name: str, area: str) -> None:
        module = f"functions.{name.replace('-', '.', 1).replace('-', '_')}"
        app = importlib.import_module(module).app
        await stack.enter_async_context(app.router.lifespan_context(app))
        # The processor's own books are not what is explored: it keeps its word, whatever its faults are.
        faults = Faults if name == "payments-simulate" else (lambda: self.faults)
        app.state.database = WatchedDatabase(self._pools[area], name, faults)
        app.state.publisher = None if name == "payments-simulate" else self.broker
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._apps[name] = app
        self._clients[name] = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://function.test")
        )

    @property
    def apps(self) -> dict[str, Any]:
        """The functions' apps, by name."""
        return self._apps

    @property
    def simulator(self) -> Simulator:
        """The card processor, to look into its books without faults."""
        assert self._simulator is not None
        return self._simulator

    async def reset(self, faults: Faults) -> None:
        """An empty world, with these faults in it."""
        self.faults = faults
        self.broker.pending.clear()
        self.broker.published.clear()
        async with self._pools["payments"].acquire() as connection, connection.transaction():
            # The ledger refuses to be emptied, as it should: between runs its guards are off.
            await connection.execute("SET LOCAL session_replication_role = replica")
            for table in ("entries", "transfers", "refunds", "payment_attempts", "payments"):
                await connection.execute(f"DELETE FROM {table}")
        for area, tables in (
            ("orders", ("orders", "idempotency", "outbox", "inbox")),
            ("payments", ("outbox", "inbox", "idempotency")),
            ("cards", ("charges", "webhooks")),
        ):
            if area == "cards":
                await self._pools[area].execute("DELETE FROM refunds")
            for table in tables:
                await self._pools[area].execute(f"DELETE FROM {table}")

    async def call(self, name: str, method: str, path: str, **sent: Any) -> httpx.Response | None:
        """A request; None where the process died before it answered."""
        answer: httpx.Response | None = None
        try:
            answer = await self._clients[name].request(method, path, **sent)
            self.faults.crossing(f"{name}: before answer")
        except* Crash:
            answer = None
        return answer

    async def deliver(self, delivery: Delivery) -> bool:
        """One attempt; answers whether it is acknowledged. A dead process' delivery is not."""
        headers, body = to_binary(delivery.event)
        taken = False
        try:
            answer = await self._clients[delivery.function].post("/", headers=headers, content=body)
            self.faults.crossing(f"{delivery}: before ack")
            taken = answer.status_code == 204
        except* Crash:
            taken = False
        return taken

    def revive(self) -> bool:
        """Start again whatever died; answers whether something had."""
        died = self.faults.dead
        self.faults.dead = False
        return died

    async def sweep(self) -> None:
        """What the PingSources would set off in time: unsent events are sent, open payments looked up."""
        from eventing import outbox  # noqa: PLC0415 - looked up at each call, so that a test can take it away.

        for area in ("orders", "payments"):
            with contextlib.suppress(BaseExceptionGroup, Crash):
                await outbox.drain(self._pools[area], self.broker, older_than=_NO_TIME)
        await self._pools["payments"].execute("UPDATE payments SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")
        await self._pools["payments"].execute("UPDATE refunds SET due_at = clock_timestamp() WHERE NOT done")
        await self.deliver(Delivery("payments-settle", PING))

    async def fetch(self, area: str, statement: str) -> Sequence[asyncpg.Record]:
        """Look into a database."""
        return await self._pools[area].fetch(statement)

    async def state(self) -> str:
        """All that matters, as one text: two runs that are at the same place have the same."""
        orders = await self.fetch("orders", "SELECT status, version FROM orders ORDER BY id")
        payments = await self.fetch("payments", "SELECT state, undone_reason FROM payments ORDER BY order_id")
        entries = await self.fetch("payments", "SELECT account, minor FROM entries ORDER BY account, minor")
        refunds = await self.fetch("payments", "SELECT minor, done FROM refunds ORDER BY minor, done")
        charges = await self.fetch("cards", "SELECT outcome, captures > 0 FROM charges ORDER BY key")
        unsent = await self.fetch("orders", "SELECT count(*) FROM outbox WHERE published_at IS NULL")
        pending = sorted(map(str, self.broker.pending))
        rows = [[tuple(row) for row in part] for part in (orders, payments, entries, refunds, charges, unsent)]
        return repr((rows, pending))


def bearer() -> dict[str, str]:
    """The buyer's token."""
    now = int(time.time())
    header = {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}
    claims = {"iss": "wake", "aud": "wake", "sub": "ada", "role": "customer", "iat": now, "exp": now + 600}
    return {"authorization": f"Bearer {jwt.encode(header, claims, KEY, algorithms=['ES256'])}"}


_NO_TIME = timedelta(0)
