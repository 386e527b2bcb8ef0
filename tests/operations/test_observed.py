"""Rules, dashboards and texts name what there is. (`make operations-check` runs the rules in a real Prometheus.)"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import asyncpg
import pytest
import yaml

from knative.runtime import cli, programs
from tests.operations import commands, observed
from tests.operations.promql import grouped, metrics


def test_every_metric_that_is_used_is_documented() -> None:
    """As ours or as somebody else's."""
    ours, others = observed.documented()
    used = {name for one in observed.expressions() for name, _ in metrics(one)}

    assert used <= ours | others
    assert others <= used
    assert not ours & others
    assert observed.recorded() <= ours


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('max by (a) (x{b="1"}) > 3', {("x", frozenset({"b"}))}),
        ("rate(y_total[5m] offset 5m) / sum by (c, d) (z) * 0", {("y_total", frozenset()), ("z", frozenset())}),
        ('absent(w:x{e=~"f|g",h!="i"})', {("w:x", frozenset({"e", "h"}))}),
    ],
)
def test_what_an_expression_reads_is_found(expression: str, found: set[tuple[str, frozenset[str]]]) -> None:
    """Metrics with their labels, and nothing else."""
    assert set(metrics(expression)) == found


def test_groupings_are_found() -> None:
    """So that a label that is nowhere exposed is noticed."""
    assert grouped("sum by (function, le) (x) / on (pod) y") == {"function", "le", "pod"}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """Under the address that the alert carries; the runbook names the alert that leads to it."""
    for name, alert in observed.alerts().items():
        runbook = observed.ROOT / alert["annotations"]["runbook_url"]
        assert runbook.parent == observed.RUNBOOKS
        assert f"`{name}`" in runbook.read_text(), name
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"].endswith(".")
    for runbook in observed.RUNBOOKS.glob("*.md"):
        named = set(re.findall(r"`(Wake[A-Za-z]+)`", runbook.read_text()))
        assert named, runbook.name
        assert named <= observed.alerts().keys(), runbook.name


def test_every_alert_is_seen_to_fire() -> None:
    """In tests/operations/rules_test.yaml, which promtool runs."""
    tested = yaml.safe_load((observed.ROOT / "tests/operations/rules_test.yaml").read_text())["tests"]

    assert {one["name"] for one in tested} == observed.alerts().keys()


@pytest.mark.parametrize("runbook", sorted(observed.RUNBOOKS.glob("*.md")), ids=lambda one: one.stem)
def test_a_runbook_has_every_part(runbook: Path) -> None:
    """In the order in which somebody who was woken reads it."""
    headings = re.findall(r"^## (.+)$", runbook.read_text(), re.MULTILINE)

    assert headings == [
        "What you notice",
        "What customers see",
        "First look",
        "What to do",
        "When it is over",
        "The money",
    ]


TEXTS = observed.ROOT / "docs/operations"


def test_every_wake_command_can_be_typed() -> None:
    """Its own parser takes it."""
    typed = commands.of("wake", TEXTS)

    assert len(typed) > 10
    for words in typed:
        try:
            cli._parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"wake {shlex.join(words)}")


def test_every_make_target_is_there() -> None:
    """By its name in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (observed.ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {words[0] for words in commands.of("make", TEXTS)} <= targets


def test_every_kubectl_command_has_its_flags() -> None:
    """As kubectl's own help lists them."""
    typed = commands.of("kubectl", TEXTS)

    assert len(typed) > 10
    for words in typed:
        own = words[: words.index("--")] if "--" in words else words
        flags = {word.partition("=")[0] for word in own if word.startswith("-") and word != "-"}
        assert flags <= kubectl_flags(tuple(own[:3]) if own[0] == "create" else (own[0],)), words


@cache
def kubectl_flags(words: tuple[str, ...]) -> frozenset[str]:
    """Those of one command, and those of every command."""
    kubectl = programs.find("kubectl")
    text = "".join(
        subprocess.run([kubectl, *arguments], capture_output=True, text=True, check=True).stdout
        for arguments in ((*words, "--help"), ("options",))
    )
    return frozenset(re.findall(r"(?<![\w-])(--?[a-zA-Z][a-z-]*)", text))


async def test_every_statement_can_be_run(database_url: Callable[[str], str]) -> None:
    """On the tables that the migrations make; ORDER stands for an order's id."""
    typed = commands.of("sql", TEXTS)
    connections = {area: await asyncpg.connect(database_url(area)) for area in {words[0] for words in typed}}
    try:
        for area, statement in typed:
            await connections[area].execute(statement.replace("'ORDER'", "gen_random_uuid()"))
    finally:
        for connection in connections.values():
            await connection.close()

    assert len(typed) > 10


def test_every_link_leads_somewhere() -> None:
    """From the texts on running it, and from the guide that leads to them."""
    for file in (*TEXTS.rglob("*.md"), observed.ROOT / "docs/guides/deploy.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
