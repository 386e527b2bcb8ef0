"""Mistakes that the overlays' checks have to find; one that looks away is a problem too. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.ship.built import Body


@dataclass(frozen=True)
class Planted:
    """A bad object, which check has to find it, and by which word of its own."""

    check: str
    word: str
    body: Body

    @property
    def name(self) -> str:
        """By which it is told from the good ones."""
        return str(self.body["metadata"]["name"])


def plant(good: Body) -> Iterator[Planted]:
    """A good Knative Service, made bad in every way that the checks are for."""
    unlimited = {"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}
    yield _bad(good, "checkov", "CKV_K8S_16", "privileged", security={"privileged": True})
    yield _bad(good, "checkov", "CKV_K8S_23", "root", security={"runAsNonRoot": False})
    yield _bad(good, "checkov", "CKV_K8S_11", "unlimited-cpu", container=unlimited)
    yield _bad(good, "checkov", "CKV_K8S_13", "unlimited-memory", container=unlimited)
    yield _bad(good, "types", "timeoutSecond", "unknown", pod={"timeoutSecond": 3})
    yield _bad(good, "types", "envform", "unknown-inside", container={"envform": []})
    yield _bad(good, "types", "must be integer", "mistyped", pod={"timeoutSeconds": "soon"})
    yield _bad(good, "kubernetes", "envform", "misspelt", container={"envform": []})
    yield _bad(good, "admission", "hostNetwork", "hosted", pod={"hostNetwork": True})


def _bad(
    good: Body,
    check: str,
    word: str,
    name: str,
    *,
    pod: Mapping[str, Any] | None = None,
    container: Mapping[str, Any] | None = None,
    security: Mapping[str, Any] | None = None,
) -> Planted:
    body: dict[str, Any] = copy.deepcopy(dict(good))
    body["metadata"]["name"] = f"planted-{name}"
    spec = body["spec"]["template"]["spec"]
    (first,) = spec["containers"]
    spec |= pod or {}
    first |= container or {}
    first["securityContext"] |= security or {}
    return Planted(check, word, body)
