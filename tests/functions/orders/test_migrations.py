"""An upgrade over old data: statuses from before anybody kept them can be watched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import asyncpg

from knative.runtime import postgres, programs
from tests.conftest import ROOT, sql

FOLDER = ROOT / "functions/orders/migrations"
OLD = """
INSERT INTO orders (id, username, amount_minor, currency, payment_token, status, version, created_at, updated_at)
SELECT gen_random_uuid(), 'ada', 9950, 'EUR', 't', status, version, '2026-01-01Z', '2026-01-02Z'
FROM (VALUES ('placed', 1), ('rejected', 2), ('cancelled', 2), ('cancelled', 3)) AS old (status, version);
"""


async def test_old_orders_have_a_history(postgres_server: postgres.Postgres, tmp_path: Path) -> None:
    """From placed to where they are; what becomes of them goes on from there, also where one is mended by hand."""
    url = postgres_server.url("test_statuses")

    def migrate(folder: Path) -> None:
        command = [programs.find("dbmate"), "--no-dump-schema", "--url", url, "--migrations-dir", str(folder), "up"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    shutil.copy(FOLDER / "20261124000101_orders.sql", tmp_path)
    migrate(tmp_path)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(OLD)
        migrate(FOLDER)
        await connection.execute("UPDATE orders SET status = 'expired' WHERE status = 'placed'")
        rows = await connection.fetch(
            "SELECT array_agg(format('%s %s', s.place, s.status) ORDER BY s.place) AS history"
            " FROM order_statuses s JOIN orders o ON o.id = s.order_id GROUP BY o.id, o.status, o.version"
        )
    finally:
        await connection.close()
        sql(postgres_server, "DROP DATABASE test_statuses WITH (FORCE)")

    assert sorted(row["history"] for row in rows) == [
        ["1 placed", "2 cancelled"],
        ["1 placed", "2 confirmed", "3 cancelled"],
        ["1 placed", "2 expired"],
        ["1 placed", "2 rejected"],
    ]
