"""An upgrade over old dead letters: each can be worked with afterwards, and none stops the migration."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import asyncpg

from knative.runtime import postgres, programs
from tests.conftest import ROOT, sql

FOLDER = ROOT / "functions/deadletters/migrations"
INNER = (
    '{"specversion":"1.0","id":"e-1","source":"/wake/orders","type":"orders.placed.v1","subject":"o-1",'
    '"data":{"b":1,"a":1.0}}'
)
OLD = """
INSERT INTO dead_letters (id, kind, source, event_id, type, subject, destination, code, answer, attributes, data)
VALUES (gen_random_uuid(), $1, '/wake', gen_random_uuid()::text, $2, NULL, $3, $4, NULL, $5::jsonb, $6)
"""


async def test_old_letters_are_there_afterwards(postgres_server: postgres.Postgres, tmp_path: Path) -> None:
    """A refused event stands for itself, with the bytes it had; what is none is left alone; each has its attempt."""
    url = postgres_server.url("test_old_letters")

    def migrate(folder: Path) -> None:
        command = [programs.find("dbmate"), "--no-dump-schema", "--url", url, "--migrations-dir", str(folder), "up"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    shutil.copy(FOLDER / "20261124000105_dead_letters.sql", tmp_path)
    migrate(tmp_path)
    connection = await asyncpg.connect(url)
    attributes = {"type": "orders.placed.v1", "knativeerrordest": "http://x", "knativeerrorcode": "503"}
    refused = json.dumps({"event_id": "e-1", "reason": "no", "function": "payments-charge", "event": "INNER"})
    try:
        kind = "payments.event-refused.v1"
        told = refused.replace('"INNER"', INNER).encode()
        for row in (
            ("undeliverable", "orders.placed.v1", "http://x", "503", json.dumps(attributes), b"{}"),
            ("refused", kind, "", None, "{}", told),
            ("refused", kind, "", None, "{}", told),
            ("refused", kind, "", None, "{}", b"\xff"),
            ("refused", kind, "", None, "{}", b'{"event": 1}'),
        ):
            await connection.execute(OLD, *row)
        migrate(FOLDER)
        rows = await connection.fetch(
            "SELECT kind, type, event_id, destination, answer, state, attributes::text, data FROM dead_letters"
            " ORDER BY received_at"
        )
        attempts = await connection.fetch("SELECT round, number, destination FROM dead_letter_attempts")
    finally:
        await connection.close()
        sql(postgres_server, "DROP DATABASE test_old_letters WITH (FORCE)")

    undeliverable, inner, twin, *odd = rows
    assert (undeliverable["attributes"], undeliverable["state"]) == ('{"type": "orders.placed.v1"}', "kept")
    assert (inner["type"], inner["event_id"], inner["destination"]) == ("orders.placed.v1", "e-1", "payments-charge")
    assert (inner["answer"], inner["data"]) == ("no", b'{"b":1,"a":1.0}')
    assert [one["type"] for one in (twin, *odd)] == [kind] * 3
    assert sorted(one["destination"] for one in attempts) == ["", "", "", "http://x", "payments-charge"]
