"""What a revision's annotations and config-autoscaler ask of the autoscalers. Pure.

Sources: Knative Serving pkg/reconciler/autoscaling/resources/target.go, pkg/autoscaler/config/config.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from knative.runtime import autoscaler, hpa
from knative.runtime.durations import seconds
from knative.runtime.resources import Service

PREFIX = "autoscaling.knative.dev/"
HPA = "hpa.autoscaling.knative.dev"


def is_hpa(service: Service) -> bool:
    """Whether Kubernetes' autoscaler decides instead of Knative's."""
    return service.annotations.get(f"{PREFIX}class") == HPA


def metric(service: Service) -> str:
    """`concurrency` or `rps`."""
    return service.annotations.get(f"{PREFIX}metric", "concurrency")


def of_kpa(service: Service, defaults: Mapping[str, str]) -> autoscaler.Spec:
    """What Knative's autoscaler is asked for; *defaults* is config-autoscaler's data."""
    say = _Asked(service.annotations, defaults)
    total, utilization = _target(service, say)
    return autoscaler.Spec(
        total=total,
        utilization=utilization,
        min_scale=int(say("min-scale", "min-scale", "0")),
        max_scale=int(say("max-scale", "max-scale", "0")),
        initial_scale=int(service.annotations.get(f"{PREFIX}initial-scale", "0")),
        activation_scale=int(say("activation-scale", None, "1")),
        stable_window=seconds(say("window", "stable-window", "60s")),
        panic_window_percentage=float(say("panic-window-percentage", "panic-window-percentage", "10")),
        panic_threshold=float(say("panic-threshold-percentage", "panic-threshold-percentage", "200")) / 100,
        scale_down_delay=seconds(say("scale-down-delay", "scale-down-delay", "0s")),
        retention=seconds(
            say("scale-to-zero-pod-retention-period", "scale-to-zero-pod-retention-period", "0s"),
        ),
        grace=seconds(defaults.get("scale-to-zero-grace-period", "30s")),
        target_burst_capacity=float(say("target-burst-capacity", "target-burst-capacity", "211")),
        aggregation=(
            "weighted-exponential"
            if say("metric-aggregation-algorithm", None, "linear") == "weighted-exponential"
            else "linear"
        ),
        max_scale_up_rate=float(defaults.get("max-scale-up-rate", "1000")),
        max_scale_down_rate=float(defaults.get("max-scale-down-rate", "2")),
        scale_to_zero=defaults.get("enable-scale-to-zero", "true") != "false",
    )


def _target(service: Service, say: _Asked) -> tuple[float, float]:
    """What one replica can take, and the part of it that is aimed at."""
    limit = service.container_concurrency
    if metric(service) == "rps":
        total = float(say("target", "requests-per-second-target-default", "200"))
    else:
        asked = say("target", None, "")
        total = float(asked) if asked else float(limit or say("", "container-concurrency-target-default", "100"))
        if limit:
            total = min(total, limit)
    return total, float(say("target-utilization-percentage", "container-concurrency-target-percentage", "70")) / 100


def of_hpa(service: Service) -> hpa.Spec:
    """What Kubernetes' autoscaler is asked for."""
    asked = service.annotations
    return hpa.Spec(
        target_percent=float(asked.get(f"{PREFIX}target", "80")),
        requested=service.cpu_request,
        min_scale=max(1, int(asked.get(f"{PREFIX}min-scale", "1"))),
        max_scale=int(asked.get(f"{PREFIX}max-scale", "0")),
    )


class _Asked:
    """A value of an annotation, else of config-autoscaler, else Knative's own default."""

    def __init__(self, annotations: Mapping[str, str], defaults: Mapping[str, str]) -> None:
        self._annotations = annotations
        self._defaults = defaults

    def __call__(self, annotation: str, setting: str | None, default: str) -> str:
        found = self._annotations.get(PREFIX + annotation)
        if found is None and setting is not None:
            found = self._defaults.get(setting)
        return default if found is None else found
