"""Kubernetes' Horizontal Pod Autoscaler on CPU, for revisions of class `hpa.autoscaling.knative.dev`. Pure.

Approximated: the CPU time of processes stands in for a metrics server, and readiness delays are left out. As on a
cluster, such a revision never sleeps at zero. Source: Kubernetes, "Horizontal Pod Autoscaling", algorithm details.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PERIOD_SECONDS = 15.0
_TOLERANCE = 0.1
_STABILIZATION_SECONDS = 300.0


@dataclass(frozen=True)
class Spec:
    """`target_percent` is of the requested CPU (`requested`, in cores)."""

    target_percent: float = 80.0
    requested: float = 1.0
    min_scale: int = 1
    max_scale: int = 0


def decide(
    replicas: int, cores_used: float, spec: Spec, recommended: Sequence[tuple[float, int]], now: float
) -> tuple[int, tuple[tuple[float, int], ...]]:
    """How many replicas, and the recommendations to remember: it goes down to the highest of the last five minutes."""
    replicas = max(1, replicas)
    ratio = cores_used / replicas / spec.requested * 100 / spec.target_percent
    wanted = replicas if abs(ratio - 1) <= _TOLERANCE else math.ceil(replicas * ratio)
    wanted = max(wanted, 1, spec.min_scale)
    if spec.max_scale > 0:
        wanted = min(wanted, spec.max_scale)
    kept = (*(one for one in recommended if one[0] > now - _STABILIZATION_SECONDS), (now, wanted))
    return max(count for _, count in kept), kept
