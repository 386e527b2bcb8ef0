"""What the overlays come to, built by kubectl itself."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from knative.runtime import programs

ROOT = Path(__file__).parent.parent.parent
OVERLAYS = ROOT / "knative/overlays"
# Those for a cluster; the local one asks the runtime to make its Secrets.
KNATIVE = ("kafka", "nats", "nats-envoy", "rabbitmq")

Body = Mapping[str, Any]


@cache
def build(overlay: str) -> tuple[Body, ...]:
    """Every object of an overlay, as `kubectl apply -k` would send it."""
    done = subprocess.run(
        [programs.find("kubectl"), "kustomize", str(OVERLAYS / overlay)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


def of_kind(bodies: tuple[Body, ...], kind: str, group: str = "") -> dict[str, Body]:
    """The objects of one kind, by name; *group* is how its apiVersion begins."""
    return {
        one["metadata"]["name"]: one for one in bodies if one["kind"] == kind and one["apiVersion"].startswith(group)
    }
