"""What is alerted on and drawn: the rules, the dashboards, the runbooks, and which metrics are whose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "knative/components/observability/rules.yaml"
DASHBOARDS = ROOT / "knative/components/observability/dashboards"
RUNBOOKS = ROOT / "docs/operations/runbooks"
METRICS = ROOT / "docs/operations/metrics.md"
# What Prometheus adds to whatever it scrapes.
OF_TARGET = frozenset({"namespace", "pod", "job", "instance", "container"})
_VARIABLES = {"$__rate_interval": "5m", "$namespace": ".*", "$function": ".*"}


@cache
def rules() -> list[dict[str, Any]]:
    """Every rule, recording ones too."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by their names."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def queries() -> Iterator[str]:
    """Every query of every dashboard, its variables filled in."""
    for file in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"]
                for variable, value in _VARIABLES.items():
                    query = query.replace(variable, value)
                yield query


def expressions() -> list[str]:
    """Of rules and dashboards."""
    return [rule["expr"] for rule in rules()] + list(queries())


def recorded() -> frozenset[str]:
    """The metrics that our own rules make."""
    return frozenset(rule["record"] for rule in rules() if "record" in rule)


def documented() -> tuple[frozenset[str], frozenset[str]]:
    """The metrics that docs/operations/metrics.md lists: ours, and those of others."""
    ours, _, others = METRICS.read_text().partition("## Of others")
    return tuple(frozenset(re.findall(r"^\| `([a-z_:0-9]+)", part, re.MULTILINE)) for part in (ours, others))  # type: ignore[return-value]
