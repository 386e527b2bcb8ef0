"""`make operations-check`: a backup that was taken while orders ran is restored, and what is lost is known.

Everything is thrown away but the card processor's own books: nobody can take those back.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from knative.runtime import postgres, programs
from tests.flows.conftest import Customer, Installation, installation, wait_until
from tests.operations import observed
from tests.storm.storm import ping

__all__ = ["installation"]
# Whoever refers is dumped before whom it refers to: payments to orders, orders to users.
ORDER = ("deadletters", "payments", "orders", "users")
DUMP = ["--format=custom", "--no-owner", "--no-privileges"]
RESTORE = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction"]
TEXT = observed.ROOT / "docs/operations/backup.md"
_UNKNOWN = re.compile(r"^order (?P<id>[0-9a-f-]{36}): the processor captured 99\.50, and we know nothing of it$")


def test_the_text_says_what_is_done_here() -> None:
    """The very options, in this order."""
    text = TEXT.read_text()

    assert " ".join(DUMP) in text
    assert " ".join(RESTORE) in text
    assert " ".join(ORDER) in text


def url(installed: Installation, area: str) -> str:
    """Of an area's database, as its role."""
    folder = installed.folder / "state"
    port = int((folder / "postgres/data/postmaster.pid").read_text().splitlines()[3])
    password = json.loads((folder / "secrets.json").read_text())[f"shop/{area}-database"]["password"]
    return postgres.url(f"wake_{area}", password, port, f"wake_{area}")


def run(program: str, *arguments: str) -> None:
    """PostgreSQL's own program, of the server's version."""
    found = Path(programs.find("psql")).with_name(program)
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def dump(installed: Installation, area: str) -> None:
    """Into a file of the test's folder."""
    run("pg_dump", *DUMP, f"--file={installed.folder / area}.dump", url(installed, area))


def restore(installed: Installation, area: str) -> None:
    """From that file."""
    run("pg_restore", *RESTORE, f"--dbname={url(installed, area)}", f"{installed.folder / area}.dump")


@pytest.fixture
def customer(installation: Installation) -> Iterator[Customer]:
    """Somebody who orders."""
    installation.up()
    made = Customer(installation)
    yield made
    made.http.close()


def test_a_backup_is_restored_and_what_is_lost_is_known(installation: Installation, customer: Customer) -> None:
    """Orders from before it are all there and end; of those after it the processor has the money, and each is named."""
    before = [customer.place() for _ in range(5)]
    over = threading.Event()
    during: list[str] = []

    def order_on() -> None:
        while not over.is_set():
            during.append(customer.place())

    ordering = threading.Thread(target=order_on)
    ordering.start()
    for area in ORDER:
        dump(installation, area)
    over.set()
    ordering.join()
    after = [customer.place() for _ in range(3)]
    for one in (*before, *during, *after):
        assert customer.ends(one) == "confirmed"
    dump(installation, "cards")
    lose_everything(installation)

    installation.up()
    for area in (*ORDER, "cards"):
        restore(installation, area)
    # The function may have been started on what was there before.
    sent = installation.wake("republish", "--since", "1d")
    customer.sign_in()
    there = [one for one in (*before, *during) if customer.http.get(f"/orders/{one}").status_code == 200]
    have_turns(installation)
    for one in there:
        assert customer.ends(one) == "confirmed"
    wait_until(lambda: at_rest(installation, set(during) - set(there) | set(after)))

    assert sent.returncode == 0, sent.stderr
    assert before == there[: len(before)]
    assert not set(after) & set(there)


def lose_everything(installed: Installation) -> None:
    """The databases and the Broker's store; Secrets are kept elsewhere."""
    installed.stop()
    for name in ("postgres", "nats"):
        shutil.rmtree(installed.folder / "state" / name)
    (installed.folder / "state/jobs.json").unlink()


def have_turns(installed: Installation) -> None:
    """What the PingSources would set off within five minutes: a dump has events that were being published just then."""
    for name in ("outbox-relay", "payments-settle"):
        ping(installed, name)


def at_rest(installed: Installation, lost: set[str]) -> bool:
    """Whether nothing differs but that the processor was paid for what is lost, each order named."""
    have_turns(installed)
    said = installed.wake("check-books", "--at-rest").stdout.splitlines()
    named = [match["id"] for line in said if (match := _UNKNOWN.match(line)) is not None]
    return sorted(named) == sorted(lost) and len(named) == len(said)
