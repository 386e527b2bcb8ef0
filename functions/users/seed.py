"""`python -m functions.users.seed`: makes the admin that ADMIN_USERNAME and ADMIN_PASSWORD name; a Job runs it."""

from __future__ import annotations

import asyncio
import os

from functions import secrets
from functions.database import Database, DatabaseSettings
from functions.users import passwords, users


async def seed() -> None:
    """Make the admin, or give an existing one this password.

    Raises:
        KnownSecret: it is a placeholder, or one that everybody knows.
    """
    secrets.require_own(os.environ)
    database = Database(DatabaseSettings.from_environment(os.environ, migrations="users"))
    await database.open()
    try:
        password_hash = await passwords.hash_password(os.environ["ADMIN_PASSWORD"])
        async with database.transaction() as transaction:
            await users.seed_admin(transaction, os.environ["ADMIN_USERNAME"], "admin@localhost", password_hash)
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(seed())
