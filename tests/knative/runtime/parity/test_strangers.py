"""What `wake parity` says where there is no Wake: one sentence, and exit code 2."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from knative.runtime import child, cli
from knative.runtime.parity.target import Target, Unusable, headers_of, token_of
from tests.flows.gateways import Passed, gateway


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Its one sentence."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["parity", *arguments])
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1), (out, err)
    return err


def stranger(capsys: pytest.CaptureFixture[str], status: int, body: bytes = b"", **headers: str) -> str:
    """What is said of somebody who answers so."""

    def before(passed: Passed) -> Passed:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(passed, status=status, headers=named, body=body)

    with gateway(before=before) as url:
        return said(capsys, url)


def test_nobody_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """No such host, no such port, no TLS, no HTTP, no answer."""
    assert "there is no host no-such-host.invalid" in said(capsys, "http://no-such-host.invalid")
    port = child.free_port()
    assert f"nothing listens at 127.0.0.1:{port}: is it up" in said(capsys, f"http://127.0.0.1:{port}")
    with gateway() as url:
        assert "does not speak TLS: is it http:// there?" in said(capsys, url.replace("http:", "https:"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "within 0.2 s (--timeout)" in said(capsys, where, "--timeout", "0.2")


def test_somebody_else_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A login's page, a redirection, an ingress that knows no such name, a bucket, a database that is ill."""
    page = b"<html><head><title>Sign in to ACME</title></head></html>"
    assert "a page for people (Sign in to ACME): does a login stand before it?" in stranger(
        capsys, 200, page, content_type="text/html; charset=utf-8"
    )
    redirected = stranger(capsys, 301, location="https://shop.example/")
    assert "sends elsewhere (301, https://shop.example/), which is not followed" in redirected
    assert "(--host-header), and is / where the API begins?" in stranger(capsys, 404, b"default backend - 404")
    assert "answers 200, but not with keys: it is no Wake" in stranger(
        capsys, 200, b"{}", content_type="application/json"
    )
    assert "answered 502 Bad Gateway: look at what stands between" in stranger(capsys, 502)
    # HTTP allows for numbers that nobody has named.
    assert "answered 530" in stranger(capsys, 530)


def test_what_a_stranger_says_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """A window's title, colours, line ends and marks of direction are shown, not done."""
    page = "<title>\x1b]0;mine\x07\x9b2J\nsame \u202eekaw</title>".encode()
    told = stranger(capsys, 200, page, content_type="text/html; charset=utf-8")

    assert r"(\x1b]0;mine\x07\x9b2J\nsame \u202eekaw)" in told
    assert told.rstrip("\n").isprintable()


def test_an_answer_that_is_made_to_do_harm(capsys: pytest.CaptureFixture[str]) -> None:
    """One that is too large or too deep, and a title that takes long to look for; each ends in one sentence."""
    json = {"content_type": "application/json"}
    assert "answers with more than 4194304 bytes: it is no Wake" in stranger(capsys, 200, b" " * 5_000_000, **json)
    assert "but not with keys" in stranger(capsys, 200, b"[" * 200_000, **json)
    assert "no title" in stranger(capsys, 200, b"<title>" + b" " * 20_000, content_type="text/html")
    assert "answered 503" in stranger(capsys, 503, retry_after="\xb2")


def test_an_answer_that_never_ends_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A byte now and then keeps nobody here for longer than --timeout."""
    ended = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
            while not ended.wait(0.05):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            where = f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert "within 0.5 s (--timeout)" in said(capsys, where, "--timeout", "0.5")
        finally:
            ended.set()
            dripping.join()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("shop.example.com", "is no URL such as"),
        ("http:/shop.example.com", "is no URL such as"),
        ("ftp://shop.example.com", "is no URL such as"),
        ("http://shop.example.com:http", "is no URL such as"),
        ("http://shop example.com", "is no URL such as"),
        ("http://[::1", "is no URL such as"),
        ("https://shop.example.com/?stage=prod", "has a query or a fragment"),
        ("https://ada:secret@shop.example.com", "--header-file FILE"),
    ],
)
def test_a_url_that_was_mistyped(capsys: pytest.CaptureFixture[str], url: str, sentence: str) -> None:
    """Nobody is asked; a password in it is not repeated."""
    told = said(capsys, url)

    assert sentence in told
    assert "secret" not in told


def test_what_does_not_go_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nobody is asked either."""
    here = "http://127.0.0.1:1"
    assert "two URLs are compared with each other" in said(capsys, here, here, "--against", "x")
    assert "--record compares nothing" in said(capsys, here, "--record", "x", "--against", "y")
    assert "--card-token pays" in said(capsys, here, "--read-only", "--card-token", "x")
    assert "there is no scenario nonsense: --list lists them" in said(capsys, here, "--without", "nonsense")
    assert "No such file" in said(capsys, here, "--against", str(tmp_path / "none"))
    assert "nothing runs on" in said_on(capsys, tmp_path)


def said_on(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Without a URL, where nothing runs."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--state", str(folder), "parity"])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_the_list_asks_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with what it is about."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["parity", "--list"])

    assert ended.value.code == 0
    assert "webhook-badsig      a webhook that somebody else signed" in capsys.readouterr().out


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    """A token is one word; a header is a name and a value, and neither the API's own nor the host."""
    file = tmp_path / "file"
    for text, part in (("", "0 words"), ("two words", "2 words")):
        file.write_text(text)
        with pytest.raises(Unusable, match=part):
            token_of(file)
    for text, part in (
        ("nonsense", "no header"),
        ("Authorization: x", "is the API's own"),
        ("Host: x", "--host-header"),
    ):
        file.write_text(text)
        with pytest.raises(Unusable, match=part):
            headers_of(file)
    file.write_text("X-Api-Key: a:b\n\n  cf-access: c \n")
    assert headers_of(file) == {"x-api-key": "a:b", "cf-access": "c"}


def test_a_target_is_what_its_url_says() -> None:
    """With its default port; a trailing slash is none; the name is the one that it is called by."""
    one = Target.at("https://10.0.0.7/prod/", host_header="shop.example:8443")

    assert (one.host, one.port, one.prefix, one.name) == ("10.0.0.7", 443, "/prod", "shop.example")
    assert one.origin == "https://shop.example:8443"
