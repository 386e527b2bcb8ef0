"""Users in their database. Whoever is deactivated is not there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from eventing.queries import Queries
from eventing.transaction import Transaction
from functions import kept
from functions.cache import Cache
from functions.database import Database
from functions.errors import AlreadyThere, NotFound
from functions.identity import USERNAME, Identity
from functions.kept import Kept
from functions.users.user import User

_queries = Queries.beside(__file__)
_NAME = re.compile(USERNAME)


class UnknownUser(NotFound):
    """There is no such user."""


class NameTaken(AlreadyThere):
    """This username is taken."""


async def insert(transaction: Transaction, username: str, email: str, password_hash: str) -> User:
    """Write a new user.

    Raises:
        NameTaken: also when two ask for it at once; names of users who left stay taken.
    """
    row = await transaction.fetchrow(_queries["insert"], username, email, password_hash)
    if row is None:
        raise NameTaken
    return User.from_row(row)


async def find(database: Database, username: str) -> User | None:
    """The user of this name, if there is one."""
    # What cannot be a name (it may hold bytes that no text in PostgreSQL can) is nobody's.
    row = await database.fetchrow(_queries["get"], username) if _NAME.fullmatch(username) else None
    return None if row is None else User.from_row(row)


async def find_all(database: Database, usernames: Sequence[str]) -> dict[str, User]:
    """Those of these users that there are, by their names."""
    names = [username for username in usernames if _NAME.fullmatch(username)]
    rows = await database.fetch(_queries["find_all"], names) if names else []
    return {user.username: user for user in map(User.from_row, rows)}


async def get(database: Database, username: str, caller: Identity) -> User:
    """The user, if it is the caller's to see.

    Raises:
        UnknownUser: there is none, or it is somebody else, which nobody can tell apart.
    """
    user = await find(database, username) if caller.may_see(username) else None
    if user is None:
        raise UnknownUser
    return user


async def show(database: Database, cache: Cache, username: str, caller: Identity) -> Kept:
    """As `get`, what the API shows of it; from the cache, where there is one."""

    async def load() -> Kept | None:
        user = await find(database, username)
        return None if user is None else user.kept()

    # Names are the owners' own, so that a stranger is refused before anything is read.
    may = caller.may_see(username) and _NAME.fullmatch(username)
    found = await cache.read(kept.key("users", username), caller.may_see, load) if may else None
    if found is None:
        raise UnknownUser
    return found


async def lock(transaction: Transaction, username: str, caller: Identity) -> User:
    """As `get`; nobody else changes the user until the transaction ends."""
    may = caller.may_see(username) and _NAME.fullmatch(username)
    row = await transaction.fetchrow(_queries["lock"], username) if may else None
    if row is None:
        raise UnknownUser
    return User.from_row(row)


async def save(transaction: Transaction, user: User, email: str, password_hash: str) -> User:
    """Write what changed of a locked user; answers it with its next version."""
    row = await transaction.fetchrow(_queries["save"], user.username, user.version, email, password_hash)
    if row is None:
        raise UnknownUser
    return User.from_row(row)


async def rehash(database: Database, user: User, password_hash: str) -> None:
    """Replace a hash by a stronger one of the same password, unless it changed meanwhile."""
    async with database.transaction() as transaction:
        await transaction.execute(_queries["rehash"], user.username, user.password_hash, password_hash)


async def deactivate(transaction: Transaction, user: User) -> User:
    """The user can sign in no more; answers it with its next version."""
    await transaction.execute(_queries["deactivate"], user.username)
    return replace(user, version=user.version + 1)


async def page(database: Database, after: str | None, limit: int) -> list[User]:
    """Users by name, those that come after a name."""
    return [User.from_row(row) for row in await database.fetch(_queries["list"], after, limit)]


async def seed_admin(transaction: Transaction, username: str, email: str, password_hash: str) -> None:
    """Make this user an admin with this password, new or not."""
    await transaction.execute(_queries["seed_admin"], username, email, password_hash)
