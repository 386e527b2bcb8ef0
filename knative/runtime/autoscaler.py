"""Decides how many replicas a revision should have: Knative's KPA, in its own words and formulae. Pure.

What was observed, what the annotations ask for, and the time go in; a decision comes out, with what has to be
remembered for the next one. Sources: Knative Serving pkg/autoscaler/scaling/autoscaler.go (the formulae),
pkg/autoscaler/aggregation/bucketing.go (the averages), pkg/reconciler/autoscaling/kpa/scaler.go (scale to zero).
All times are in seconds, on any clock that only goes forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

# How often Knative decides, and how often it looks (multiscaler.go, stats_scraper.go).
TICK_SECONDS = 2.0
SAMPLE_SECONDS = 1.0
_TARGET_MIN = 0.01


@dataclass(frozen=True)
class Spec:
    """What a revision's annotations and config-autoscaler ask for; the defaults are Knative's.

    `total` is what one replica can take of the metric, `utilization` the part of it that is aimed at.
    """

    total: float = 100.0
    utilization: float = 0.7
    min_scale: int = 0
    max_scale: int = 0
    initial_scale: int = 0
    activation_scale: int = 1
    stable_window: float = 60.0
    panic_window_percentage: float = 10.0
    panic_threshold: float = 2.0
    scale_down_delay: float = 0.0
    retention: float = 0.0
    grace: float = 30.0
    target_burst_capacity: float = 211.0
    aggregation: Literal["linear", "weighted-exponential"] = "linear"
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    scale_to_zero: bool = True

    @property
    def target(self) -> float:
        """What one replica should have of the metric."""
        return max(_TARGET_MIN, self.total * self.utilization)

    @property
    def panic_window(self) -> float:
        """At least a second."""
        return max(1.0, round(self.stable_window * self.panic_window_percentage / 100))


@dataclass(frozen=True)
class Sample:
    """The metric (requests under way, or requests a second) over all replicas at one time."""

    at: float
    value: float


@dataclass(frozen=True)
class Memory:
    """What one decision leaves for the next."""

    panicking_since: float | None = None
    panic_max: int = 0
    # What was wanted lately, for scale-down-delay.
    wanted: tuple[tuple[float, int], ...] = ()
    active_since: float | None = None
    inactive_since: float | None = None
    # Since when requests would go by way of the activator.
    proxied_since: float | None = None


@dataclass(frozen=True)
class Observed:
    """What is known of a revision: replicas that are ready, samples of at least the stable window, oldest first."""

    ready: int
    samples: Sequence[Sample]
    memory: Memory = field(default_factory=Memory)
    # Whether any traffic is routed to it.
    reachable: bool = True


@dataclass(frozen=True)
class Decision:
    """How many replicas there should be, and why."""

    desired: int
    panicking: bool
    excess_burst_capacity: float
    memory: Memory


def decide(observed: Observed, spec: Spec, now: float) -> Decision:
    """One tick. Without any sample in the stable window the number stays as it is."""
    stable = _average(observed.samples, now, spec.stable_window, spec.aggregation)
    panic = _average(observed.samples, now, spec.panic_window, spec.aggregation)
    if stable is None:
        return Decision(observed.ready, observed.memory.panicking_since is not None, 0.0, observed.memory)
    panic = stable if panic is None else panic
    wanted, memory = _wanted(observed, spec, now, stable, panic)
    burst = _excess_burst_capacity(observed.ready, spec, panic)
    proxied = wanted == 0 or burst < 0
    memory = replace(memory, proxied_since=_since(memory.proxied_since, now) if proxied else None)
    wanted, memory = _bounded(wanted, observed, spec, now, memory)
    return Decision(wanted, memory.panicking_since is not None, burst, memory)


def _wanted(
    observed: Observed, spec: Spec, now: float, stable_average: float, panic_average: float
) -> tuple[int, Memory]:
    """How many replicas the load asks for, before min-scale, max-scale and the way to zero."""
    memory = observed.memory
    ready = max(1, observed.ready)
    most = math.ceil(spec.max_scale_up_rate * ready)
    least = math.floor(ready / spec.max_scale_down_rate) if observed.reachable else 0
    by_stable = math.ceil(stable_average / spec.target)
    by_panic = math.ceil(panic_average / spec.target)
    stable = min(max(by_stable, least), most)
    panic = min(max(by_panic, least), most)
    if spec.activation_scale > 1:
        stable = max(stable, spec.activation_scale) if by_stable > 0 else stable
        panic = max(panic, spec.activation_scale) if by_panic > 0 else panic
    memory = _panic(memory, spec, now, over=by_panic / ready >= spec.panic_threshold)
    wanted = stable
    if memory.panicking_since is not None:
        # In a panic the number never goes down.
        wanted = max(stable, panic, memory.panic_max)
        memory = replace(memory, panic_max=wanted)
    if spec.scale_down_delay > 0 and observed.reachable:
        kept = (*(one for one in memory.wanted if one[0] > now - spec.scale_down_delay), (now, wanted))
        memory = replace(memory, wanted=kept)
        wanted = max(count for _, count in kept)
    return wanted, memory


def _panic(memory: Memory, spec: Spec, now: float, *, over: bool) -> Memory:
    """Enter, stay in, or leave a panic; it lasts a whole stable window after the last time that asked for it."""
    if over:
        return replace(memory, panicking_since=now)
    if memory.panicking_since is not None and now > memory.panicking_since + spec.stable_window:
        return replace(memory, panicking_since=None, panic_max=0)
    return memory


def _excess_burst_capacity(ready: int, spec: Spec, panic_average: float) -> float:
    if spec.target_burst_capacity == 0:
        return 0.0
    if spec.target_burst_capacity < 0:
        return -1.0
    return math.floor(ready * spec.total - spec.target_burst_capacity - panic_average)


def _bounded(wanted: int, observed: Observed, spec: Spec, now: float, memory: Memory) -> tuple[int, Memory]:
    """Within min-scale and max-scale; to zero only after a window of work, the grace period and the retention."""
    if observed.reachable:
        wanted = max(wanted, spec.min_scale)
    if spec.max_scale > 0:
        wanted = min(wanted, spec.max_scale)
    if wanted > 0:
        return wanted, replace(memory, active_since=_since(memory.active_since, now), inactive_since=None)
    if not spec.scale_to_zero:
        return 1, memory
    if memory.active_since is not None and now - memory.active_since < spec.stable_window:
        return min(1, observed.ready), memory
    memory = replace(memory, inactive_since=_since(memory.inactive_since, now))
    idle = now - (memory.inactive_since or now)
    proxied = now - (memory.proxied_since if memory.proxied_since is not None else now)
    over = (idle >= spec.grace or proxied >= spec.grace) and (idle >= spec.retention or not observed.reachable)
    if not over:
        return min(1, observed.ready), memory
    return 0, Memory()


def _since(since: float | None, now: float) -> float:
    return now if since is None else since


def _average(samples: Sequence[Sample], now: float, window: float, aggregation: str) -> float | None:
    """The average over the samples of the last *window* seconds; a partly filled window is averaged as it is."""
    values = [one.value for one in samples if now - window < one.at <= now]
    if not values:
        return None
    if aggregation == "linear":
        return sum(values) / len(values)
    # Newest first, each counting less than the one before it, and 0.01 % left for those beyond the window.
    coefficient = max(1 - (1 - 0.9999) ** (1 / max(1.0, window)), 0.2)
    total, weights, weight = 0.0, 0.0, coefficient
    for value in reversed(values):
        total += value * weight
        weights += weight
        weight *= 1 - coefficient
    return total / weights
