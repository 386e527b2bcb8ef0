"""Decides when a revision sleeps, in Knative's words: the stable window, the scale-to-zero grace period.

Pure: what was observed and the time go in, a decision comes out. Between zero and one replica is all that is decided
here; `max-scale` above one is reported as approximated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Decision(Enum):
    """What to do with a revision that runs."""

    STAY = "stay"
    SLEEP = "sleep"


@dataclass(frozen=True)
class Observed:
    """What the gateway counted for one revision: requests under way now, and when one was last seen under way."""

    requests_active: int
    last_busy: float


@dataclass(frozen=True)
class Scale:
    """The autoscaling annotations of a revision, in seconds."""

    min_scale: int
    stable_window_seconds: float
    scale_to_zero_grace_period_seconds: float
    scale_down_delay_seconds: float


def decide(observed: Observed, scale: Scale, now: float) -> Decision:
    """Sleep once a whole window, the delay and the grace period have passed without a request."""
    quiet_seconds = (
        scale.stable_window_seconds + scale.scale_down_delay_seconds + scale.scale_to_zero_grace_period_seconds
    )
    if scale.min_scale > 0 or observed.requests_active > 0 or now - observed.last_busy < quiet_seconds:
        return Decision.STAY
    return Decision.SLEEP
