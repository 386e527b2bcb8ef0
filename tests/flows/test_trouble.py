"""Processes killed, the whole killed, the database away: orders reach their end, and nothing stays behind."""

from __future__ import annotations

import os
import signal

import httpx
import pytest

from knative.runtime import child
from tests.flows.conftest import Customer, Installation, wait_until


def test_nothing_runs_before_the_first_call_and_nothing_after_the_idle_time(installation: Installation) -> None:
    """And for one order only those that it needs were woken. Then ctrl-C ends everything."""
    installation.up()
    assert installation.awake() == set()

    needed = {"users-register", "users-sign-in", "users-rpc", "orders-place", "orders-get", "orders-confirm"}
    needed |= {"payments-charge", "payments-simulate"}
    with Customer(installation) as customer:
        assert customer.ends(customer.place()) == "confirmed"
        # The status is written a moment after what it tells of.
        wait_until(lambda: installation.started() >= needed)
    assert installation.started() == needed
    wait_until(lambda: installation.awake() == set(), seconds=60)
    assert all(one["crashes"] == 0 for one in installation.status()["services"])

    assert installation.stop(signal.SIGINT) == 0
    assert installation.processes() == []


@pytest.mark.parametrize("name", ["payments-charge", "payments-simulate"])
def test_a_function_killed_in_the_middle_loses_nothing(customer: Customer, running: Installation, name: str) -> None:
    """The event is delivered again, the card is charged once."""
    order_id = customer.place("tok_slow_2")
    wait_until(lambda: name in running.awake() and "Killed" in running.wake("crash", name).stdout)

    assert customer.ends(order_id) == "confirmed"
    assert customer.payment(order_id)["captured"] == "99.50"


@pytest.mark.parametrize("part", ["nats-server", "broker", "envoy", "postgres", "forkserver"])
def test_a_part_killed_in_the_middle_is_started_again(customer: Customer, running: Installation, part: str) -> None:
    """Orders placed before are confirmed; those placed meanwhile are refused with a 503, or confirmed."""
    first = customer.place("tok_slow_1")
    before = running.status()["parts"][part]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.status()["parts"].get(part, before) != before)
    placed = [first]

    def accepted() -> bool:
        try:
            answer = customer.http.post(
                "/orders/", json={"amount": "1.00", "currency": "EUR", "payment_token": "tok_approve"}
            )
        except httpx.TransportError:
            return False
        assert answer.status_code in {202, 502, 503}, answer.text
        if answer.status_code == 202:
            placed.append(answer.json()["order_id"])
        return answer.status_code == 202

    wait_until(accepted)
    assert [customer.ends(one) for one in placed] == ["confirmed"] * len(placed)


def test_kill_9_of_everything_is_recovered_by_the_next_start(installation: Installation) -> None:
    """Orders before it are there; the one in the middle is confirmed without a new call."""
    installation.up()
    with Customer(installation) as customer:
        done = customer.place()
        assert customer.ends(done) == "confirmed"
        open_ = customer.place("tok_slow_2")
        installation.stop(signal.SIGKILL)
        wait_until(lambda: installation.processes() == [])

        installation.up()
        wait_until(lambda: installation.says("ended without stopping"))
        assert customer.order(done)["status"] == "confirmed"
        assert customer.ends(open_) == "confirmed"
        assert customer.payment(open_)["captured"] == "99.50"
    assert installation.stop(signal.SIGTERM) == 0


def test_a_second_one_is_told_of_the_first(running: Installation) -> None:
    """One sentence; so is a port that is taken."""
    second = running.wake("up")
    assert second.returncode == 1
    assert "Wake already runs on" in second.stderr


def test_a_channel_that_does_not_answer_is_named_while_it_is_waited_for(installation: Installation) -> None:
    """Without its password; and it is no reason to wait with ctrl-C."""
    port = child.free_port()
    installation.environment |= {"RABBITMQ_URL": f"amqp://wake:secret@127.0.0.1:{port}/", "WAKE_CHANNEL": "rabbitmq"}
    installation.begin()
    wait_until(lambda: installation.says("waiting for amqp://127.0.0.1: it does not answer yet"))

    assert not installation.says("secret")
    installation.stop()
    assert installation.processes() == []


def test_a_taken_port_is_one_sentence(running: Installation, installation: Installation) -> None:
    """Which port, and what to do."""
    answer = installation.wake("up", "--port", str(running.port))

    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert str(running.port) in answer.stderr
    assert "WAKE_PORT" in answer.stderr
