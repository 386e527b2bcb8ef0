"""What Knative's own types say of its objects: TypeScript from its Go code, and JSON schemas.

TypeScript finds fields that are not known and values of the wrong type, the schemas what is missing. They let fields
pass that they do not know, as Kubernetes' API does without strict validation.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.ship.built import ROOT, Body
from tests.ship.pods import defaulted

FOLDER = ROOT / ".checks/npm"
# Its types are not among them: tests/ship/test_overlays.py has a schema.
UNKNOWN = frozenset({"RabbitmqBrokerConfig"})
_ERROR = re.compile(r"^objects\.ts\((\d+),\d+\): error TS\d+: (.*)$", re.MULTILINE)


def is_theirs(body: Body) -> bool:
    """Whether the types know an object's kind."""
    return "knative.dev/" in body["apiVersion"] and body["kind"] not in UNKNOWN


def problems(bodies: Sequence[Body]) -> Iterator[tuple[int, str]]:
    """What is wrong, with the place in *bodies* of what it is wrong with."""
    filled = [_filled(body) for body in bodies]
    yield from _by_types(filled)
    yield from _by_schemas(filled)


def _filled(body: Body) -> dict[str, Any]:
    """With what Knative's webhook fills in, which the types ask for."""
    copied: dict[str, Any] = json.loads(json.dumps(body))
    if copied["apiVersion"].startswith("serving."):
        spec = copied["spec"]["template"]["spec"]
        spec["containers"] = [defaulted(one) if isinstance(one, dict) else one for one in spec["containers"]]
    if copied["kind"] == "SinkBinding":
        # What a controller fills in, and Go's type does not call optional.
        copied["status"] = {}
    return copied


def _by_types(bodies: Sequence[Body]) -> Iterator[tuple[int, str]]:
    lines = [
        f'export const o{number}: import("@kubernetes-models/knative/{body["apiVersion"]}/{body["kind"]}").'
        f"I{body['kind']} = {json.dumps(body)};"
        for number, body in enumerate(bodies)
    ]
    (FOLDER / "objects.ts").write_text("\n".join(lines))
    done = _node("node_modules/typescript/bin/tsc", "--project", ".", "--pretty", "false")
    found = [(int(line) - 1, text) for line, text in _ERROR.findall(done.stdout)]
    if done.returncode != 0 and not found:
        raise SystemExit(f"tsc did not work: {done.stdout}{done.stderr}")
    yield from found


def _by_schemas(bodies: Sequence[Body]) -> Iterator[tuple[int, str]]:
    (FOLDER / "objects.json").write_text(json.dumps(bodies))
    done = _node("validate.mjs")
    if done.returncode != 0:
        raise SystemExit(f"the validators did not work: {done.stderr}")
    answers = json.loads(done.stdout)
    assert len(answers) == len(bodies)
    yield from ((number, text) for number, text in enumerate(answers) if text)


def _node(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not Path(FOLDER).is_dir():
        raise SystemExit(f"{FOLDER} is not there: run `make check-overlays`")
    return subprocess.run(["node", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
