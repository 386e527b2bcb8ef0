"""What checkov says of pods, and which of its rules do not hold here."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.ship.built import ROOT, Body
from tests.ship.pods import kubernetes_objects

PROGRAM = ROOT / ".checks/checkov/bin/checkov"
SKIPPED: Mapping[str, str] = {
    "CKV_K8S_15": "a tag here names one build: a pull at each start would have every cold start wait for the registry",
    "CKV_K8S_35": "functions read their environment, which func, Lambda and a laptop have too; none prints it",
    "CKV_K8S_40": "the image says its own user, or OpenShift does; runAsNonRoot keeps it from being root",
    "CKV_K8S_43": "whoever deploys names the image, by digest if they will; ours is built after this YAML is written",
}
# Without the production components.
SKIPPED_THERE: Mapping[str, str] = {**SKIPPED, "CKV2_K8S_6": "NetworkPolicies come with the production components"}
# In a Knative Service; of a pod of Kubernetes' own it is asked.
SKIPPED_IN_KNATIVE: Mapping[str, str] = {
    "CKV_K8S_29": "Knative refuses a pod's own security context (config-features); each container says all of it"
}


def problems(bodies: Iterable[Body], skipped: Mapping[str, str]) -> Iterator[str]:
    """A line for each rule that an object breaks; Knative Services are looked at as Deployments."""
    objects = [_marked(one) for one in kubernetes_objects(bodies)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "objects.yaml").write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
        report = _report(folder, skipped)
    summary, names = report["summary"], {(one["kind"], one["metadata"]["name"]) for one in objects}
    if summary["parsing_errors"] or summary["resource_count"] < len(names):
        raise SystemExit(f"checkov has not read {len(names)} objects: {summary}")
    for one in report["results"]["failed_checks"]:
        yield f"{one['resource'].split('.')[2]}: {one['check_id']} {one['check_name']} ({one['resource']})"


def _marked(body: dict[str, Any]) -> dict[str, Any]:
    """With what is not asked of a Knative Service's pod, in checkov's own words."""
    selector = (body.get("spec") or {}).get("selector") or {}
    if body["kind"] != "Deployment" or "serving.knative.dev/service" not in selector["matchLabels"]:
        return body
    skips = enumerate(SKIPPED_IN_KNATIVE.items(), 1)
    annotations = {f"checkov.io/skip{number}": f"{rule}={why}" for number, (rule, why) in skips}
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}


def _report(folder: str, skipped: Mapping[str, str]) -> Any:
    command = [PROGRAM, "--directory", folder, "--framework", "kubernetes", "--skip-download", "--quiet", "--compact"]
    done = subprocess.run(
        [*command, "--output", "json", "--skip-check", ",".join(skipped)],
        env={**os.environ, "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise SystemExit(f"checkov did not work: {done.stdout}{done.stderr}") from error
