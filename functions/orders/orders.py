"""Orders in their database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from eventing.queries import Queries
from eventing.transaction import Transaction
from functions import kept
from functions.cache import Cache
from functions.database import Database
from functions.errors import NotFound, Rejected
from functions.identity import Identity
from functions.kept import Kept
from functions.orders.order import Order, Step

_queries = Queries.beside(__file__)


class UnknownOrder(NotFound):
    """There is no such order."""


async def insert(transaction: Transaction, placed: Sequence[Order]) -> None:
    """Write new orders."""
    await transaction.execute(
        _queries["insert"],
        [order.id for order in placed],
        [order.username for order in placed],
        [order.money.minor for order in placed],
        [order.money.currency for order in placed],
        [order.payment_token for order in placed],
        [order.status for order in placed],
        [order.version for order in placed],
        [order.created_at for order in placed],
        [order.updated_at for order in placed],
    )


async def lock(transaction: Transaction, order_id: str) -> Order:
    """The order, which nobody else changes until the transaction ends.

    Raises:
        UnknownOrder: there is none of this id.
    """
    row = await transaction.fetchrow(_queries["lock"], _uuid(order_id))
    if row is None:
        raise UnknownOrder
    return Order.from_row(row)


async def overdue(transaction: Transaction, age: timedelta, limit: int) -> list[Order]:
    """Orders that are still placed after so long, locked; those that another transaction has are passed over."""
    return [Order.from_row(row) for row in await transaction.fetch(_queries["overdue"], age, limit)]


async def save(transaction: Transaction, order: Order) -> Order:
    """Write an order's move; it was locked, so its version is the one that was read. Answers it with its next one."""
    tag = await transaction.execute(_queries["save"], order.id, order.version, order.status, order.updated_at)
    if tag != "UPDATE 1":
        raise Rejected(f"order {order.id} changed while it was locked")
    return replace(order, version=order.version + 1)


async def get(database: Database, order_id: str, caller: Identity) -> Order:
    """The order, if it is the caller's to see.

    Raises:
        UnknownOrder: there is none, or it is somebody else's, which nobody can tell apart.
    """
    order = await _find(database, _uuid(order_id))
    if order is None or not caller.may_see(order.username):
        raise UnknownOrder
    return order


async def show(database: Database, cache: Cache, order_id: str, caller: Identity) -> Kept:
    """As `get`, what the API shows of it; from the cache, where there is one."""
    uuid = _uuid(order_id)

    async def load() -> Kept | None:
        order = await _find(database, uuid)
        return None if order is None else order.kept()

    found = await cache.read(kept.key("orders", str(uuid)), caller.may_see, load)
    if found is None:
        raise UnknownOrder
    return found


async def _find(database: Database, order_id: UUID) -> Order | None:
    row = await database.fetchrow(_queries["get"], order_id)
    return None if row is None else Order.from_row(row)


async def page(database: Database, username: str | None, before: str | None, limit: int) -> list[Order]:
    """Orders, the newest first: of one user or of all, older than the order *before*."""
    rows = await database.fetch(_queries["list"], username, None if before is None else _uuid(before), limit)
    return [Order.from_row(row) for row in rows]


async def statuses(database: Database, order_id: UUID) -> list[Step]:
    """Every status that an order came to, the first one first."""
    return [Step.from_row(row) for row in await database.fetch(_queries["statuses"], order_id)]


async def news(database: Database, seen: Sequence[tuple[UUID, int]]) -> list[Step]:
    """What several orders came to after the place that was seen of each; each order's in order."""
    rows = await database.fetch(_queries["news"], [one for one, _ in seen], [place for _, place in seen])
    return [Step.from_row(row) for row in rows]


def _uuid(order_id: str) -> UUID:
    """An order's id as the database has it; what is no id belongs to no order."""
    try:
        return UUID(order_id)
    except ValueError as error:
        raise UnknownOrder from error
