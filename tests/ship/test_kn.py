"""kn's way to the same Services."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from knative.runtime import render
from knative.runtime.kustomize import collect
from tests.ship.built import OVERLAYS, ROOT, build, of_kind


def test_every_service_has_its_command() -> None:
    """With the flags that kn has for its fields."""
    lines = render.text(collect(OVERLAYS / "local"), "kn").splitlines()
    commands = {words[3]: words for line in lines if (words := shlex.split(line, comments=True))}

    assert commands.keys() == of_kind(build("local"), "Service", "serving.").keys()
    assert commands["orders-confirm"][:4] == ["kn", "service", "create", "orders-confirm"]
    assert set(commands["orders-confirm"][4:]) == {
        "--namespace=shop",
        "--image=dev.local/wake:latest",
        "--cmd=python",
        "--cmd=-m",
        "--cmd=functions",
        "--arg=orders-confirm",
        "--port=8080",
        "--env-from=config-map:wake",
        "--env-value-from=DATABASE_URL=secret:orders-database:url",
        "--probe-readiness=http:::/health/readiness",
        "--probe-liveness=http:::/health/liveness",
        "--request=cpu=50m,memory=96Mi",
        "--limit=cpu=1,memory=256Mi",
        "--security-context=strict",
        "--cluster-local",
        "--label-service=wake.dev/emits=true",
        "--annotation-revision=autoscaling.knative.dev/max-scale=10",
    }


def test_what_kn_has_no_flag_for_is_said() -> None:
    """Nothing is lost in silence."""
    lines = render.text(collect(OVERLAYS / "local"), "kn").splitlines()

    assert "# orders-place: kn has no flag for securityContext.readOnlyRootFilesystem" in lines
    assert "# orders-get: kn has no flag for env.CACHE_URL (optional), securityContext.readOnlyRootFilesystem" in lines


def test_kn_service_apply_takes_every_file() -> None:
    """It reads a file's first document only, and refuses a name other than the one it finds there."""
    services = of_kind(build("local"), "Service", "serving.")
    base = ROOT / "knative/base"
    first = {}
    for file in sorted(base.glob("*/*.yaml")):
        documents = list(yaml.safe_load_all(Path(file).read_text()))
        if any(one["kind"] == "Service" for one in documents):
            first[f"{file.parent.name}-{file.stem.replace('_', '-')}"] = documents[0]

    assert first.keys() == services.keys()
    assert all(one["kind"] == "Service" and one["metadata"]["name"] == name for name, one in first.items())
