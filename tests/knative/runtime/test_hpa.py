"""The CPU autoscaler by Kubernetes' formula."""

from __future__ import annotations

from knative.runtime.hpa import Spec, decide


def test_desired_is_current_times_the_ratio() -> None:
    """Two replicas that use 1.6 of a requested core each, at a target of 80 %: four."""
    assert decide(2, 3.2, Spec(), (), 0)[0] == 4


def test_a_tenth_off_changes_nothing() -> None:
    """Tolerance."""
    assert decide(2, 1.7, Spec(), (), 0)[0] == 2


def test_it_never_sleeps_and_keeps_its_bounds() -> None:
    """min 1; max-scale."""
    assert decide(1, 0.0, Spec(), (), 0)[0] == 1
    assert decide(4, 40.0, Spec(max_scale=6), (), 0)[0] == 6


def test_it_goes_down_to_the_highest_of_five_minutes() -> None:
    """Stabilisation."""
    wanted, kept = decide(2, 3.2, Spec(), (), 0)
    wanted, kept = decide(wanted, 0.1, Spec(), kept, 200)
    assert wanted == 4
    assert decide(wanted, 0.1, Spec(), kept, 301)[0] == 1
