"""The check on migrations finds what would hold somebody up, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from knative.runtime import postgres, programs
from tests.checks.migrations import problems
from tests.conftest import sql

BOUNDED = "SET LOCAL lock_timeout = '5s';\n"


def judged(statements: str, options: str = "") -> str:
    """What is said of a migration that does this."""
    return "\n".join(
        problems("1_x.sql", f"-- migrate:up{options}\n{statements}\n-- migrate:down\nDROP TABLE orders;\n")
    )


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE INDEX i ON orders (status);", "CONCURRENTLY"),
        ("CREATE UNIQUE INDEX ON orders (status);", "CONCURRENTLY"),
        ("ALTER TABLE orders ADD COLUMN note text;", "lock_timeout"),
        (f"{BOUNDED}ALTER TABLE orders DROP COLUMN note;", "contract"),
        ("DROP TABLE orders;", "contract"),
        (f"{BOUNDED}ALTER TABLE orders RENAME COLUMN note TO remark;", "old name"),
        (f"{BOUNDED}ALTER TABLE orders RENAME TO sales;", "old name"),
        (f"{BOUNDED}ALTER TABLE orders ALTER COLUMN note TYPE varchar(9);", "anew"),
        (f"{BOUNDED}ALTER TABLE orders ALTER note SET NOT NULL;", "reads the whole table"),
        (f"{BOUNDED}ALTER TABLE orders ADD CONSTRAINT c CHECK (note <> '');", "NOT VALID"),
        (f"{BOUNDED}ALTER TABLE orders ADD CONSTRAINT c UNIQUE (note);", "USING INDEX"),
        (f"{BOUNDED}ALTER TABLE orders ADD COLUMN note text NOT NULL;", "without it"),
        (f"{BOUNDED}ALTER TABLE orders ADD COLUMN note uuid DEFAULT gen_random_uuid();", "anew"),
        (f"{BOUNDED}ALTER TABLE orders ADD COLUMN place bigserial;", "anew"),
        (f"{BOUNDED}ALTER TABLE orders ADD COLUMN place bigint GENERATED ALWAYS AS IDENTITY;", "anew"),
        ("CREATE INDEX CONCURRENTLY i ON orders (status);", "transaction:false"),
        ("DROP INDEX i;", "lock_timeout"),
        ("REINDEX TABLE orders;", "meanwhile"),
        ("LOCK TABLE orders;", "meanwhile"),
        ("TRUNCATE orders;", "meanwhile"),
        ("VACUUM (FULL, ANALYZE) orders;", "meanwhile"),
        ("UPDATE orders SET note = '';", "small ones"),
        ("DELETE FROM orders;", "small ones"),
    ],
)
def test_what_holds_somebody_up_is_found(statement: str, said: str) -> None:
    """Each kind, by what is to be done instead."""
    assert said in judged(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE new (id uuid PRIMARY KEY, note text NOT NULL);\nCREATE INDEX ON new (note);",
        "CREATE TABLE new (id uuid);\nALTER TABLE new ADD UNIQUE (id);",
        f"{BOUNDED}ALTER TABLE orders ADD COLUMN note text;",
        f"{BOUNDED}ALTER TABLE orders ADD COLUMN note text NOT NULL DEFAULT '';",
        f"{BOUNDED}ALTER TABLE orders ADD CONSTRAINT c CHECK (note IS NOT NULL) NOT VALID;",
        f"{BOUNDED}ALTER TABLE orders ADD COLUMN note text GENERATED ALWAYS AS (upper(status)) VIRTUAL;",
        "ALTER TABLE orders VALIDATE CONSTRAINT c;",
        f"{BOUNDED}DROP INDEX i;",
        "VACUUM orders;",
        "DELETE FROM orders WHERE id = 1;",
        f"-- contract: 0.3.0 stopped using it\n{BOUNDED}ALTER TABLE orders DROP COLUMN note;",
        "-- No RENAME; no DROP COLUMN either.\nUPDATE orders SET status = 'DROP TABLE; RENAME' WHERE false;",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DROP TABLE x; RETURN NULL; END $$;",
    ],
)
def test_what_holds_nobody_up_is_let_through(statement: str) -> None:
    """New tables, additions, and what was prepared."""
    assert judged(statement) == ""


def test_an_index_that_is_built_concurrently_is_alone_and_not_taken_for_there() -> None:
    """PostgreSQL runs several statements of one message in one transaction; a broken-off build stays, invalid."""
    one = "CREATE INDEX CONCURRENTLY i ON orders (status);"

    assert judged(one, " transaction:false") == ""
    assert "only statement" in judged(f"{one}\n{one}", " transaction:false")
    assert "invalid" in judged(one.replace("i ON", "IF NOT EXISTS i ON"), " transaction:false")


def test_a_migration_gives_up_on_a_lock_and_leaves_nothing(postgres_server: postgres.Postgres, tmp_path: Path) -> None:
    """By dbmate, beside a session that holds the table: it fails in time, and runs through once that is gone."""
    sql(postgres_server, "CREATE DATABASE held")
    sql(postgres_server, "CREATE TABLE orders (id int)", "held")
    body = "SET LOCAL lock_timeout = '200ms';\nALTER TABLE orders ADD COLUMN note text;\n"
    (tmp_path / "1_note.sql").write_text(f"-- migrate:up\nCREATE TABLE also (id int);\n{body}-- migrate:down\n")
    url = postgres_server.url("held")
    command = [programs.find("dbmate"), "--no-dump-schema", "--url", url, "--migrations-dir", str(tmp_path), "up"]
    with subprocess.Popen(
        [programs.find("psql"), "--quiet", "--no-psqlrc", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE; \\echo held\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "held\n"
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    taken = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "lock timeout" in refused.stderr
    assert (refused.returncode != 0, taken.returncode) == (True, 0), taken.stderr
    sql(postgres_server, "DROP DATABASE held WITH (FORCE)")
