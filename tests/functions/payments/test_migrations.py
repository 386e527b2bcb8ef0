"""An upgrade over old data: what was captured and refunded before there was a ledger is in it afterwards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import asyncpg

from knative.runtime import postgres, programs
from tests.conftest import ROOT, sql

FOLDER = ROOT / "functions/payments/migrations"
OLD = """
INSERT INTO payments (order_id, username, amount_minor, currency, payment_token, state, captured_minor, refunded_minor)
VALUES (gen_random_uuid(), 'ada', 9950, 'EUR', 't', 'captured', 9950, 0),
       (gen_random_uuid(), 'ada', 500, 'EUR', 't', 'refunded', 500, 500),
       (gen_random_uuid(), 'ada', 700, 'EUR', 't', 'declined', 0, 0),
       (gen_random_uuid(), 'ada', 800, 'EUR', 't', 'unknown', 0, 0),
       (gen_random_uuid(), 'ada', 900, 'EUR', NULL, 'voided', 0, 0);
"""


async def test_old_payments_are_in_the_new_ledger(postgres_server: postgres.Postgres, tmp_path: Path) -> None:
    """Balanced; open ones are due; nothing else has changed."""
    url = postgres_server.url("test_upgrade")

    def migrate(folder: Path) -> None:
        folders = ["--migrations-dir", "eventing/migrations", "--migrations-dir", str(folder)]
        command = [programs.find("dbmate"), "--no-dump-schema", "--url", url, *folders, "up"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    shutil.copy(FOLDER / "20261124000103_payments.sql", tmp_path)
    migrate(tmp_path)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(OLD)
        migrate(FOLDER)
        rows = await connection.fetch(
            "SELECT state, amount_minor, coalesce(sum(minor) FILTER (WHERE account = 'processor'), 0)::int AS kept,"
            " coalesce(sum(minor), 0)::int AS zero, due_at IS NOT NULL AS due"
            " FROM payments LEFT JOIN entries USING (order_id) GROUP BY payments.order_id ORDER BY amount_minor"
        )
        refunds = await connection.fetch("SELECT minor, done FROM refunds")
    finally:
        await connection.close()
        sql(postgres_server, "DROP DATABASE test_upgrade WITH (FORCE)")

    assert [tuple(row) for row in rows] == [
        ("refunded", 500, 0, 0, False),
        ("declined", 700, 0, 0, False),
        ("unknown", 800, 0, 0, True),
        ("voided", 900, 0, 0, False),
        ("captured", 9950, 9950, 0, False),
    ]
    assert [tuple(row) for row in refunds] == [(500, True)]
