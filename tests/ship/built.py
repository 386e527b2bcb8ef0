"""What the overlays come to, built by kubectl itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from knative.runtime import programs

ROOT = Path(__file__).parent.parent.parent
OVERLAYS = ROOT / "knative/overlays"
# Those for a cluster; the local one asks the runtime to make its Secrets. What stands behind a + is a component.
KNATIVE = ("kafka", "nats", "nats-envoy", "nats-production", "rabbitmq", "rabbitmq+cache+production+spread")
KUBERNETES = ("kubernetes", "kubernetes-production")

Body = Mapping[str, Any]


@cache
def build(overlay: str) -> tuple[Body, ...]:
    """Every object of an overlay and the components behind its name, as `kubectl apply -k` would send them."""
    with folder(overlay) as place:
        done = subprocess.run(
            [programs.find("kubectl"), "kustomize", str(place)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


@contextlib.contextmanager
def folder(overlay: str) -> Iterator[Path]:
    """The overlay's own folder, or one that adds components to it, as anybody's own overlay does."""
    name, *components = overlay.split("+")
    if not components:
        yield OVERLAYS / name
        return
    with tempfile.TemporaryDirectory() as made:
        text = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(OVERLAYS / name, Path(made).resolve())],
            "components": [
                os.path.relpath(ROOT / "knative/components" / one, Path(made).resolve()) for one in components
            ],
        }
        (Path(made) / "kustomization.yaml").write_text(yaml.safe_dump(text))
        yield Path(made)


def of_kind(bodies: tuple[Body, ...], kind: str, group: str = "") -> dict[str, Body]:
    """The objects of one kind, by name; *group* is how its apiVersion begins."""
    return {
        one["metadata"]["name"]: one for one in bodies if one["kind"] == kind and one["apiVersion"].startswith(group)
    }
