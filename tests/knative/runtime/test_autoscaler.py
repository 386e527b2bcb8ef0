"""When a revision sleeps: a table of times, with no clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from knative.runtime.autoscaler import Decision, Observed, Scale, decide

SCALE = Scale(min_scale=0, stable_window_seconds=60, scale_to_zero_grace_period_seconds=30, scale_down_delay_seconds=0)


def test_a_busy_revision_stays() -> None:
    """A request under way keeps it awake however long it takes."""
    assert decide(Observed(1, last_busy=0), SCALE, now=10_000) is Decision.STAY


def test_it_stays_for_the_window_and_the_grace_period() -> None:
    """60 s window + 30 s grace: awake at 89.9 s, asleep at 90."""
    assert decide(Observed(0, last_busy=100), SCALE, now=189.9) is Decision.STAY
    assert decide(Observed(0, last_busy=100), SCALE, now=190) is Decision.SLEEP


def test_min_scale_never_sleeps() -> None:
    """min-scale 1 is kept however long nobody calls."""
    scale = Scale(1, 6, 0, 0)

    assert decide(Observed(0, last_busy=0), scale, now=1e9) is Decision.STAY


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 3), st.floats(6, 3600))
def test_a_later_look_never_wakes_what_should_sleep(busy: float, wait: float, active: int, window: float) -> None:
    """With the same observation, once the decision is to sleep it stays so as time goes on."""
    scale = Scale(0, window, 0, 0)
    first = decide(Observed(active, busy), scale, busy + wait)
    later = decide(Observed(active, busy), scale, busy + wait + 1)

    assert not (first is Decision.SLEEP and later is Decision.STAY)
