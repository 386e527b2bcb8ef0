"""The revisions of every Service: a new one whenever its template changes, named as Knative names them.

They are remembered in the state folder, so that traffic can go to an earlier one. Sources: Knative Serving
pkg/reconciler/configuration/resources/revision.go (names), pkg/gc (how many are kept).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from knative.runtime.kustomize import did_you_mean
from knative.runtime.manifests import with_template
from knative.runtime.resources import Key, Platform, RevisionTarget, Routed, Service
from knative.runtime.state import State

_KEPT = 20


class NoSuchRevision(Exception):
    """Traffic goes to a revision that there is not; the message names those there are."""


def revise(platform: Platform, kept: Path) -> dict[Key, Routed]:
    """Every Service with the revisions that its traffic goes to; *kept* is the file that remembers them.

    Raises:
        NoSuchRevision: a `revisionName` that is not known; nothing was remembered then.
    """
    memory: dict[str, list[dict[str, Any]]] = json.loads(kept.read_text()) if kept.exists() else {}
    before = json.dumps(memory)
    routed = {}
    for key, service in platform.services.items():
        revisions = memory.setdefault("/".join(key), [])
        _stamp(service, revisions)
        routed[key] = _routed(service, revisions)
        in_use = routed[key].revisions
        revisions[:] = [one for one in revisions[:-_KEPT] if one["name"] in in_use] + revisions[-_KEPT:]
    if json.dumps(memory) != before:
        State.write(kept, json.dumps(memory, indent=1))
    return routed


def _stamp(service: Service, revisions: list[dict[str, Any]]) -> None:
    """Add a revision where the template is another than the latest one's."""
    latest = revisions[-1] if revisions else None
    if latest is not None and latest["key"] == service.template_key and service.revision in {"", latest["name"]}:
        return
    generation = 1 if latest is None else latest["generation"] + 1
    name = service.revision or f"{service.name}-{generation:05d}"
    revisions[:] = [one for one in revisions if one["name"] != name]
    revisions.append(
        {"name": name, "generation": generation, "key": service.template_key, "template": service.template}
    )


def _routed(service: Service, revisions: list[dict[str, Any]]) -> Routed:
    known: Mapping[str, Mapping[str, Any]] = {one["name"]: one["template"] for one in revisions}
    latest = revisions[-1]["name"]
    targets = []
    for target in service.traffic:
        name = latest if target.revision is None else target.revision
        if name not in known:
            raise NoSuchRevision(
                f"Service {service.name}: its traffic goes to {name}, but there is no such revision"
                f"{did_you_mean(name, known)}; there are {', '.join(known)}"
            )
        targets.append(RevisionTarget(name, target.percent, target.tag))
    used = {target.revision for target in targets if target.percent or target.tag}
    return Routed(
        service=replace(service, revision=latest),
        targets=tuple(targets),
        revisions={name: with_template(service, known[name], name) for name in known if name in used},
    )
