"""`wake parity`, against a real installation and through gateways that change what it answers."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from knative.runtime import cli
from tests.flows.conftest import Customer, Installation
from tests.flows.gateways import Passed, certificate, gateway


class Ran:
    """What `wake parity` said, and its exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["parity", *arguments])
        self.code = ended.value.code
        self.out, self.err = capsys.readouterr()

    @property
    def told(self) -> dict[str, Any]:
        """The JSON of --json."""
        return dict(json.loads(self.out))

    @property
    def differences(self) -> set[tuple[str, str, str, str]]:
        """Each difference of it: step, where, what was expected, what came."""
        return {
            (one["step"], one["where"], one["expected"], one["got"])
            for scenario in self.told["scenarios"]
            for one in scenario["differences"]
        }


def test_a_laptop_answers_as_is_recorded(running: Installation) -> None:
    """Everything, an admin's part and gRPC too.

    Where answers were changed on purpose: `wake parity --record knative/runtime/parity/expected.json` by `make up`.
    """
    ended = running.wake("parity", "--complete")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "29 the same, 0 different, 0 left out." in ended.stdout


def test_differences_are_told_by_step_and_place(running: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """A status, a header, a field, an id that is another, a CORS header that was not there: each, and nothing else."""

    def after(passed: Passed) -> Passed:
        what = passed.method, passed.path.partition("?")[0]
        if what == ("GET", "/.well-known/jwks.json") and passed.status == 200:
            headers = passed.headers | {"Cache-Control": "max-age=1", "Access-Control-Allow-Origin": "*"}
            return replace(passed, headers=headers)
        if what == ("GET", "/orders/nonsense"):
            body = json.loads(passed.body) | {"status": 405}
            return replace(passed, status=405, body=json.dumps(body).encode())
        if passed.method == "GET" and passed.path.startswith("/orders/0") and passed.status == 200:
            body = json.loads(passed.body) | {"order_id": "01900000-0000-7000-8000-000000000001", "colour": "red"}
            return replace(passed, body=json.dumps(body).encode())
        return passed

    chosen = [word for name in ("keys", "unknown", "declined") for word in ("--scenario", name)]
    with gateway(running.port, after=after) as url:
        ran = Ran(capsys, url, "--json", *chosen)

    assert ran.code == 1
    assert ran.differences == {
        ("read", "header access-control-allow-origin", "nothing", '"*"'),
        ("read", "header cache-control", '"max-age=300, public"', '"max-age=1"'),
        ("no id", "status", "404", "405"),
        ("no id", "body /status", "404", "405"),
        ("rejected", "body /order_id", '"<id 1>"', '"<id 2>"'),
        ("rejected", "body /colour", "nothing", '"red"'),
    }


def test_differences_read_well(running: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """The scenario, the step with its request line, then expected above got; what could not be asked after it too."""

    def after(passed: Passed) -> Passed:
        is_placed = (passed.method, passed.path) == ("POST", "/orders/") and passed.status == 202
        return replace(passed, status=500, body=b"{}") if is_placed else passed

    with gateway(running.port, after=after) as url:
        ran = Ran(capsys, url, "--scenario", "declined")

    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0] == f"{url}, compared with what a laptop answers:"
    assert "  place: POST /orders/" in lines
    at = next(at for at, line in enumerate(lines) if line.split()[:1] == ["status"])
    assert [line.split() for line in lines[at : at + 2]] == [["status", "expected", "202"], ["got", "500"]]
    at = lines.index("  rejected: GET /orders/{order_id}")
    assert "not asked, for want of what a step before it gives" in lines[at + 2]
    assert "0 the same, 1 different, 0 left out." in lines


def test_two_installations_are_compared_with_each_other(
    running: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with customers and ids of its own; the first is what is judged."""

    def after(passed: Passed) -> Passed:
        if passed.path.startswith("/users/parity") and passed.method == "HEAD":
            return replace(passed, headers=passed.headers | {"Etag": '"another"'})
        return passed

    here = f"http://127.0.0.1:{running.port}"
    with gateway(running.port, after=after) as url:
        same = Ran(capsys, here, here, "--scenario", "account", "--scenario", "grpc-users")
        other = Ran(capsys, url, here, "--scenario", "account", "--json")

    assert (same.code, other.code) == (0, 1)
    # What the tag is called where it is first seen; the next one has the next number.
    assert ("head", "header etag", '"<tag 1>"', '"<tag 2>"') in other.differences


def test_a_record_of_ones_own(running: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written by --record and read by --against; what it lacks is left out, and nothing at all is no success."""
    url, file = f"http://127.0.0.1:{running.port}", str(tmp_path / "record.json")

    assert Ran(capsys, url, "--record", file, "--scenario", "keys").code == 0
    assert Ran(capsys, url, "--against", file, "--scenario", "keys", "--scenario", "unrouted").code == 0
    nothing = Ran(capsys, url, "--against", file, "--scenario", "unrouted")
    assert nothing.code == 2
    assert "nothing was compared" in nothing.err


def test_reading_alone_sends_nothing_that_writes(running: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """GET and HEAD, by whatever came through the gateway; there is no user afterwards to deactivate."""
    methods: set[str] = set()

    def before(passed: Passed) -> Passed:
        methods.add(passed.method)
        return passed

    with gateway(running.port, before=before) as url:
        ran = Ran(capsys, url, "--read-only")

    assert ran.code == 0
    assert methods == {"GET", "HEAD"}
    assert "Written" not in ran.out


def test_a_path_prefix_and_a_trailing_slash(running: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """As the stage of an API Gateway: the API's own links have it as well, or the host too; gRPC is left out."""

    def before(passed: Passed) -> Passed:
        if not passed.path.startswith("/prod/"):
            return replace(passed, status=403, body=b'{"message":"Forbidden"}')
        return replace(passed, path=passed.path.removeprefix("/prod"))

    def after(passed: Passed) -> Passed:
        if location := passed.headers.get("Location"):
            passed = replace(
                passed, headers=passed.headers | {"Location": f"http://{passed.sent['host']}/prod{location}"}
            )
        if link := passed.headers.get("Link"):
            passed = replace(passed, headers=passed.headers | {"Link": link.replace("</", "</prod/")})
        return replace(passed, body=passed.body.replace(b'"next":"/', b'"next":"/prod/'))

    with gateway(running.port, before=before, after=after) as url:
        ran = Ran(capsys, f"{url}/prod/", "--scenario", "pages", "--scenario", "grpc-users")
        bare = Ran(capsys, url, "--scenario", "keys")

    assert (ran.code, bare.code) == (0, 2), ran.out
    assert "gRPC has no path prefix such as /prod" in ran.out
    assert "403 Forbidden: a gateway in front wants to know who calls: --header-file FILE" in bare.err


def test_a_certificate_of_ones_own(
    running: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused; taken with --insecure, or, under its name (SNI too), by whoever trusts it; not under another name."""
    tls, keys = certificate(tmp_path, "shop.example"), ("--scenario", "keys")
    names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    with gateway(running.port, tls=tls) as url:
        refused = Ran(capsys, url, *keys)
        insecure = Ran(capsys, url, "--insecure", *keys, "--scenario", "grpc-strangers")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        other = Ran(capsys, url, *keys)
        named = Ran(capsys, url, "--host-header", "shop.example:443", *keys)

    assert [one.code for one in (refused, insecure, other, named)] == [2, 0, 2, 0]
    assert "is not trusted here (self-signed certificate): --insecure takes any" in refused.err
    assert "the certificate there is not for 127.0.0.1: --host-header says the name" in other.err
    assert "nothing speaks gRPC at 127.0.0.1" in insecure.out
    assert names[-1] == "shop.example"


def test_a_gateway_that_goes_by_names_and_headers(
    running: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sees the name and the header with every call, and says nothing of Wake without."""

    def before(passed: Passed) -> Passed:
        if passed.sent["host"] != "shop.example":
            return replace(passed, status=404, body=b"default backend - 404")
        if passed.sent.get("x-api-key") != "secret":
            return replace(passed, status=401, body=b"who are you?")
        return replace(passed, sent=passed.sent | {"host": f"127.0.0.1:{running.port}"})

    (tmp_path / "headers").write_text("X-Api-Key: secret\n")
    keys = ("--scenario", "keys")
    with gateway(running.port, before=before) as url:
        nameless = Ran(capsys, url, *keys)
        keyless = Ran(capsys, url, *keys, "--host-header", "shop.example")
        both = Ran(capsys, url, *keys, "--host-header", "shop.example", "--header-file", str(tmp_path / "headers"))

    assert [one.code for one in (nameless, keyless, both)] == [2, 2, 0]
    assert "404 Not Found: is it one that goes by names (--host-header)" in nameless.err
    assert "--header-file FILE" in keyless.err


def test_who_is_busy_is_asked_once_more(running: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """After as long as Retry-After says; the second 429 counts."""
    asked: list[str] = []
    lock = threading.Lock()

    def before(passed: Passed) -> Passed:
        with lock:
            asked.append(passed.path)
            times = asked.count(passed.path)
        if times == 1 or (passed.path == "/metrics"):
            return replace(passed, status=429, headers={"Retry-After": "0"})
        return passed

    with gateway(running.port, before=before) as url:
        ran = Ran(capsys, url, "--scenario", "unrouted", "--json")

    assert ran.differences == {("metrics", "status", "404", "429")}


def test_where_real_cards_are_charged_none_is(running: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is placed, unless --card-token says which card pays; then the one order is paid, and refunded."""
    placed: list[str] = []

    def before(passed: Passed) -> Passed:
        if passed.path == "/payments/webhooks/simulator":
            # What an installation answers whose CARD_PROCESSOR is another.
            return replace(passed, path="/payments/webhooks/stripe")
        if (passed.method, passed.path) == ("POST", "/orders/"):
            placed.append(passed.path)
        return passed

    chosen = ("--scenario", "approved", "--scenario", "refund", "--scenario", "keys")
    with gateway(running.port, before=before) as url:
        silent = Ran(capsys, url, *chosen)
        count = len(placed)
        paid = Ran(capsys, url, *chosen, "--card-token", "tok_approve")

    assert (silent.code, count, paid.code, len(placed)) == (0, 0, 0, 1)
    assert "real cards are charged there: --card-token TOKEN" in silent.out
    assert "2 the same, 0 different, 1 left out." in paid.out


def test_a_token_has_to_be_an_admins(
    running: Installation, customer: Customer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A customer's and a wrong one are refused before anything is asked."""
    url, file = f"http://127.0.0.1:{running.port}", tmp_path / "token"
    file.write_text(customer.http.headers["authorization"].removeprefix("Bearer ") + "\n")
    customers = Ran(capsys, url, "--token-file", str(file))
    file.write_text(secrets.token_urlsafe())
    wrong = Ran(capsys, url, "--token-file", str(file))

    assert (customers.code, wrong.code) == (2, 2)
    assert "the token of --token-file is no admin's" in customers.err
    assert "it lasts ten minutes, POST /tokens gives another" in wrong.err


def test_whoever_was_registered_leaves(running: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """Also from a scenario that broke off; who could not leave is named."""
    left: list[str] = []

    def after(passed: Passed) -> Passed:
        if passed.method == "DELETE" and passed.path.startswith("/users/parity"):
            left.append(passed.path.rpartition("-")[2])
            if passed.path.endswith("ada"):
                return replace(passed, status=500)
        if passed.method == "GET" and passed.path.endswith("-dora"):
            return replace(passed, headers={name: value for name, value in passed.headers.items() if name != "Etag"})
        return passed

    with gateway(running.port, after=after) as url:
        ran = Ran(capsys, url, "--scenario", "account", "--scenario", "unknown")

    assert ran.code == 1
    assert sorted(left) == ["ada", "dora"]
    assert "Still active there, for deactivating failed: parity-" in ran.out
