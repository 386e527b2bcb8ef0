"""The `wake` commands beside a running platform, as a user types them."""

from __future__ import annotations

import json
import uuid

import httpx
import pytest

from tests.flows.conftest import Customer, Installation, lines, wait_until


def test_demo_shows_cold_and_warm(running: Installation) -> None:
    """Ends with two orders confirmed, each with its timeline."""
    result = running.wake("demo")

    assert result.returncode == 0, result.stderr
    assert result.stdout.count('"status": "confirmed"') == 2
    assert "orders.placed.v1 accepted" in result.stdout


def test_ps_lists_every_function(running: Installation, customer: Customer) -> None:
    """As a table, and as JSON."""
    table, listed = running.wake("ps"), running.wake("ps", "--json")

    assert "users-register" in table.stdout
    services = {one["name"]: one for one in json.loads(listed.stdout)}
    assert services["users-register"]["phase"] == "awake"
    assert services["users-register"]["pid"]


def test_logs_prints_what_a_function_wrote(running: Installation, customer: Customer) -> None:
    """JSON lines; an unknown name is answered with the known ones."""
    assert any(
        line.get("function") == "users-register" for line in lines(running.wake("logs", "users-register").stdout)
    )
    unknown = running.wake("logs", "orders-plcae")
    assert unknown.returncode == 1
    assert "there is no log of 'orders-plcae'" in unknown.stderr


def test_events_tell_the_way_of_an_order(running: Installation, customer: Customer) -> None:
    """Accepted, delivered, by which Trigger, how often tried."""
    order_id = customer.place()
    assert customer.ends(order_id) == "confirmed"

    def told() -> list[tuple[str, str]]:
        found = lines(running.wake("events", "-s", order_id, "--json").stdout)
        return [(one["type"], one["kind"]) for one in found]

    wait_until(lambda: ("orders.confirmed.v1", "accepted") in told())
    assert {("orders.placed.v1", "delivered"), ("payments.captured.v1", "delivered")} <= set(told())


def test_republish_changes_nothing(running: Installation, customer: Customer) -> None:
    """The same events under the same ids: every consumer knows them already."""
    order_id = customer.place()
    assert customer.ends(order_id) == "confirmed"
    result = running.wake("republish", "--since", "1h")

    assert result.returncode == 0, result.stderr
    assert customer.order(order_id)["status"] == "confirmed"
    assert customer.payment(order_id)["captured"] == "99.50"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("{", "this is not JSON"),
        ("[]", "an event in JSON is an object"),
        ('{"data": 1}', "400"),
    ],
)
def test_what_is_no_event_is_not_sent(running: Installation, given: str, reason: str) -> None:
    """One sentence, exit code 1."""
    result = running.wake("send", "-", given=given)

    assert result.returncode == 1
    assert reason in result.stderr


def test_an_event_that_cannot_be_handled_is_kept_as_a_dead_letter(running: Installation) -> None:
    """A strange orders.placed.v1 is accepted by the Broker, refused by payments-charge, and kept."""
    event = {"type": "orders.placed.v1", "subject": "nonsense", "datacontenttype": "application/json", "data": {"a": 1}}
    result = running.wake("send", "-", given=json.dumps(event))
    assert result.returncode == 0, result.stderr

    def kept() -> bool:
        found = lines(running.wake("events", "--json", "-n", "200").stdout)
        return any(one["type"] == "payments.event-refused.v1" and one["kind"] == "delivered" for one in found)

    wait_until(kept)


def test_a_dead_letter_is_shown_edited_tried_and_redriven(running: Installation, customer: Customer) -> None:
    """What orders-confirm refused is put right, sent to it alone, and handled; the order was confirmed before."""
    order_id, subject = customer.place(), str(uuid.uuid4())
    assert customer.ends(order_id) == "confirmed"
    data = {"order_id": subject, "amount": 99.5, "currency": "EUR"}
    event = {"type": "payments.captured.v1", "subject": subject, "datacontenttype": "application/json", "data": data}
    running.wake("send", "-", given=json.dumps(event))

    def wake(*arguments: str, code: int = 0) -> str:
        done = running.wake("deadletters", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    wait_until(lambda: json.loads(wake("list", "--subject", subject, "--json")))
    (letter,) = json.loads(wake("list", "--subject", subject, "--json"))
    name = letter["id"]
    assert "orders-confirm" in wake("list", "--type", "payments.captured.v1")
    assert "amount: Input should be a valid string" in wake("diff", name)
    assert "orders-confirm would refuse it" in wake("dry-run", name)
    assert "1 refused." in wake("redrive", name, code=1)
    wake("edit", name, "--set", 'amount="99.50"', "--set", f"order_id={order_id}", "--why", "a number")
    assert "orders-confirm would handle it" in wake("dry-run", name)
    assert "1 handled." in wake("redrive", name)
    assert "1 already." in wake("redrive", name)
    assert "edited by admin: a number" in wake("show", name)
    assert json.loads(wake("list", "--subject", subject, "--json")) == []
    assert "was redriven" in running.wake("deadletters", "discard", name, "--why", "x").stderr


def test_nobody_outside_can_ask_for_a_dry_run(running: Installation) -> None:
    """Functions that take events are cluster-local: 404, by their own name and through the API."""
    headers = {"content-type": "application/vnd.wake.dry-run+json"}
    for host in ("payments-charge.shop.localhost", "payments-charge.shop.svc.cluster.local", "localhost"):
        answer = httpx.post(f"http://127.0.0.1:{running.port}/", content=b"{}", headers={**headers, "host": host})
        assert answer.status_code == 404, host


def test_a_replay_says_first_what_it_would_do(running: Installation, customer: Customer) -> None:
    """What was handled is known; an unknown Trigger is answered with those that there are."""
    order_id = customer.place()
    assert customer.ends(order_id) == "confirmed"
    arguments = ("replay", "--trigger", "payments-charge", "--subject", order_id, "--since", "1h")
    would, did = running.wake(*arguments, "--dry-run"), running.wake(*arguments)

    assert "1 would skip." in would.stdout, would.stderr
    assert "1 handled." in did.stdout, did.stderr
    assert customer.payment(order_id)["captured"] == "99.50"
    assert "there are" in running.wake("replay", "--trigger", "payments-chrage").stderr


@pytest.mark.parametrize(
    "arguments", [["ps"], ["deadletters", "list"], ["send", "-"], ["crash", "orders-place"], ["demo"], ["events"]]
)
def test_without_a_running_platform_each_says_so(installation: Installation, arguments: list[str]) -> None:
    """One sentence, exit code 1."""
    result = installation.wake(*arguments)

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("wake: ")


def test_reset_asks_first_and_deletes_only_a_state_folder(installation: Installation) -> None:
    """Without a terminal it wants --yes; a folder that is none of its own is left alone."""
    folder = installation.folder / "state"
    folder.mkdir()
    (folder / "precious").write_text("x")
    assert "is no state folder of Wake" in installation.wake("reset", "--yes").stderr
    (folder / "lock").touch()
    assert "say --yes" in installation.wake("reset").stderr
    assert installation.wake("reset", "--yes").returncode == 0
    assert not folder.exists()


def test_the_books_are_checked(running: Installation, customer: Customer) -> None:
    """Exit code 0 while they balance."""
    assert customer.ends(customer.place()) == "confirmed"
    result = running.wake("check-books")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "The books balance" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "down",
        "reset",
        "ps",
        "logs",
        "events",
        "eventtypes",
        "send",
        "deadletters",
        "replay",
        "republish",
        "check-books",
        "crash",
        "demo",
        "init",
        "explain",
        "render",
    ],
)
def test_every_command_explains_itself(installation: Installation, command: str) -> None:
    """--help alone is enough to use it."""
    result = installation.wake(command, "--help")

    assert result.returncode == 0
    assert "usage: wake" in result.stdout
