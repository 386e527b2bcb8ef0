"""`python -m tests.checks.migrations`: no migration holds anybody up, nor takes away what the old revision still uses.

What a statement locks: PostgreSQL's documentation, "Explicit Locking", and its pages on ALTER TABLE and CREATE INDEX.
docs/operations/upgrade.md says how it is done instead.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# Made before anything was released: there was nobody to hold up.
_BEFORE_RELEASE = 20261125000700
_UP = re.compile(r"^-- migrate:up(?P<options>[^\n]*)\n(?P<sql>.*?)(?=^-- migrate:down|\Z)", re.MULTILINE | re.DOTALL)
# A statement, with text in dollar quotes and quotes taken as a whole.
_STATEMENT = re.compile(r"(?:\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|--[^\n]*|[^;])+", re.DOTALL)
_CREATES = re.compile(r"\bCREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.IGNORECASE)
_ALTERS = re.compile(r"\bALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+)", re.IGNORECASE)
_INDEXES = re.compile(
    r"\bCREATE (?:UNIQUE )?INDEX (?P<how>CONCURRENTLY )?(?P<unless>IF NOT EXISTS )?"
    r"(?:\w+ )?ON (?:ONLY )?(?P<table>\w+)",
    re.IGNORECASE,
)
_CONTRACTS = re.compile(r"^-- contract: \S", re.MULTILINE)
_QUEUES = "everybody queues behind it while it waits: SET LOCAL lock_timeout = '5s' first"
# What, where it stands in a statement about a table that is in use, is wrong; and why.
_WRONG: tuple[tuple[str, str], ...] = (
    (
        r"\bDROP TABLE\b|\bDROP COLUMN\b",
        "the old revision may still use it: say `-- contract: RELEASE stopped using it`",
    ),
    (r"\bRENAME\b", "the old revision knows it by its old name: add the new one, and drop the old one later"),
    (r"\bALTER COLUMN \w+ (?:SET DATA )?TYPE\b", "it writes the whole table anew under a lock: add a column instead"),
    (
        r"\bSET NOT NULL\b",
        "it reads the whole table under a lock: add a CHECK (… IS NOT NULL) NOT VALID and validate it",
    ),
    (
        r"\bADD (?:CONSTRAINT \w+ )?(?:CHECK|FOREIGN KEY|REFERENCES)\b(?!.*\bNOT VALID\b)",
        "it reads the whole table under a lock: NOT VALID, and VALIDATE CONSTRAINT in a migration of its own",
    ),
    (
        r"\bADD (?:CONSTRAINT \w+ )?(?:UNIQUE|PRIMARY KEY)\b(?!.*\bUSING INDEX\b)",
        "it builds an index under a lock: CREATE UNIQUE INDEX CONCURRENTLY first, then ADD … USING INDEX",
    ),
    (
        r"\bADD COLUMN\b(?=[^,]*\bNOT NULL\b)(?![^,]*\bDEFAULT\b)",
        "the old revision inserts rows without it: give it a default, or let it be null",
    ),
    (
        r"\bADD COLUMN\b[^,]*\bDEFAULT\b[^,]*\b(?:clock_timestamp|gen_random_uuid|random|nextval|uuidv7)\b",
        "a default that is another for each row writes the whole table anew under a lock",
    ),
    (
        r"\bADD COLUMN\b[^,]*\b(?:(?:small|big)?serial|IDENTITY|STORED)\b",
        "it writes the whole table anew under a lock: add a nullable column, and fill it in batches",
    ),
)
# The same, of statements that are not about a table's definition.
_WRONG_BY_THEMSELVES: tuple[tuple[str, str], ...] = (
    (
        r"TRUNCATE\b|LOCK\b|CLUSTER\b|VACUUM\b.*\bFULL\b|REINDEX\b(?!.*\bCONCURRENTLY\b)",
        "nobody can use the table meanwhile",
    ),
    (
        r"(?:UPDATE|DELETE FROM)\b(?!.*\bWHERE\b)",
        "it holds every row for as long as it runs: a loop of small ones, after the migration",
    ),
)


def problems(file: str, text: str) -> Iterator[str]:
    """What is wrong with one migration."""
    match = _UP.search(text)
    if match is None:
        yield f"{file} has no `-- migrate:up`"
        return
    up = match["sql"]
    statements = [one[0].strip() for one in _STATEMENT.finditer(up) if _bare(one[0])]
    own = {name.lower() for name in _CREATES.findall(up)}
    bounded = re.search(r"\bSET LOCAL lock_timeout\b", up, re.IGNORECASE) is not None
    for statement in statements:
        bare = _bare(statement)
        defined = _of_statement(bare, own, contracts=_CONTRACTS.search(up) is not None, bounded=bounded)
        for why in (*_by_itself(bare, bounded=bounded), *defined):
            yield f"{file}: {_first(statement)}: {why}"
        if "concurrently" in statement.lower():
            if "transaction:false" not in match["options"]:
                yield f"{file}: {_first(statement)}: CONCURRENTLY needs `-- migrate:up transaction:false`"
            if len(statements) > 1:
                yield f"{file}: {_first(statement)}: CONCURRENTLY is its migration's only statement"


def _of_statement(statement: str, own: set[str], *, contracts: bool, bounded: bool) -> Iterator[str]:
    for index in _INDEXES.finditer(statement):
        if index["table"].lower() not in own and index["how"] is None:
            yield "nobody can write while it is built: CONCURRENTLY"
        if index["how"] is not None and index["unless"] is not None:
            yield "IF NOT EXISTS takes an index for there that a broken-off build has left invalid"
    altered = _ALTERS.search(statement)
    if altered is not None and altered[1].lower() not in own and not bounded and "VALIDATE" not in statement.upper():
        yield _QUEUES
    if altered is None and not re.match(r"DROP TABLE", statement, re.IGNORECASE):
        return
    if altered is not None and altered[1].lower() in own:
        return
    for pattern, why in _WRONG:
        if re.search(pattern, statement, re.IGNORECASE | re.DOTALL) and not (contracts and "contract" in why):
            yield why


def _by_itself(statement: str, *, bounded: bool) -> Iterator[str]:
    for pattern, why in _WRONG_BY_THEMSELVES:
        if re.match(pattern, statement, re.IGNORECASE | re.DOTALL):
            yield why
    if not bounded and re.match(r"DROP INDEX (?!CONCURRENTLY)", statement, re.IGNORECASE):
        yield _QUEUES


def _bare(statement: str) -> str:
    """Without comments."""
    return re.sub(r"--[^\n]*", "", statement).strip()


def _first(statement: str) -> str:
    return " ".join(_bare(statement).split())[:60]


def main() -> None:
    """Print what is wrong; exits with 1 if anything is."""
    files = sorted(ROOT.glob("**/migrations/*.sql"))
    mine = [one for one in files if ".venv" not in one.parts and int(one.name.partition("_")[0]) > _BEFORE_RELEASE]
    found = [line for file in mine for line in problems(file.relative_to(ROOT).as_posix(), file.read_text())]
    print("\n".join(found) or "No migration holds anybody up.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
