"""The autoscaler by Knative's formulae, with no clock but the numbers given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from knative.runtime.autoscaler import Decision, Memory, Observed, Sample, Spec, decide

Load = Callable[[float], float]


def steady(value: float, now: float, seconds: int = 60) -> list[Sample]:
    """The same value every second."""
    return [Sample(now - one, value) for one in range(seconds - 1, -1, -1)]


def run(load: Load, spec: Spec, seconds: int, ready: int = 0) -> list[Decision]:
    """Sample every second, decide every two, every decision carried out at once."""
    samples: list[Sample] = []
    memory = Memory()
    decisions = []
    for second in range(seconds):
        samples = [*samples[-math.ceil(spec.stable_window) :], Sample(second, load(second))]
        if second % 2 == 0:
            decision = decide(Observed(ready, samples, memory), spec, second)
            ready, memory = decision.desired, decision.memory
            decisions.append(decision)
    return decisions


def test_a_target_of_100_at_70_percent_is_one_replica_for_70_requests() -> None:
    """ceil(average / (total x utilization))."""
    for concurrency, wanted in ((1, 1), (70, 1), (71, 2), (140, 2), (141, 3)):
        assert decide(Observed(wanted, steady(concurrency, 100)), Spec(), 100).desired == wanted


def test_it_goes_down_by_half_at_most() -> None:
    """max-scale-down-rate is 2."""
    assert decide(Observed(10, steady(1, 100)), Spec(), 100).desired == 5
    assert decide(Observed(5, steady(1, 100)), Spec(), 100).desired == 2


def test_it_goes_up_a_thousandfold_at_most() -> None:
    """max-scale-up-rate is 1000; tests make it 3."""
    assert decide(Observed(2, steady(1e6, 100)), Spec(max_scale_up_rate=3), 100).desired == 6


def test_twice_the_target_in_the_panic_window_is_a_panic() -> None:
    """A burst after a quiet minute is answered by the last six seconds, and held for a whole window."""
    samples = [*steady(0, 94, 54), *(Sample(at, 280) for at in range(95, 101))]
    decision = decide(Observed(1, samples), Spec(), 100)
    assert (decision.desired, decision.panicking) == (4, True)

    calm = decide(Observed(4, steady(0, 130), decision.memory), Spec(), 130)
    assert (calm.desired, calm.panicking) == (4, True)

    after = decide(Observed(4, steady(0, 162), calm.memory), Spec(), 162)
    assert (after.desired, after.panicking) == (2, False)


def test_scale_down_delay_keeps_the_highest_of_the_delay() -> None:
    """A dip shorter than the delay changes nothing."""
    spec = Spec(scale_down_delay=30, stable_window=6)
    load: Load = lambda second: 140 if second < 20 else 0  # noqa: E731
    desired = [one.desired for one in run(load, spec, 60)]
    assert desired[12:20] == [2] * 8
    assert desired[-1] < 2


def test_activation_scale_is_the_least_from_zero() -> None:
    """One request wakes three, where the annotation says so."""
    assert decide(Observed(0, steady(1, 100)), Spec(activation_scale=3), 100).desired == 3
    assert decide(Observed(0, steady(0, 100)), Spec(activation_scale=3), 100).desired == 0


def test_from_the_last_request_to_zero_is_the_window_and_the_grace_period() -> None:
    """60 s until the average is 0; the grace period runs beside it where the activator is in the path anyway."""
    load: Load = lambda second: 1 if second < 100 else 0  # noqa: E731
    by_default = [index * 2 for index, one in enumerate(run(load, Spec(), 300)) if one.desired == 0]
    direct = [index * 2 for index, one in enumerate(run(load, Spec(target_burst_capacity=0), 300)) if one.desired == 0]
    assert by_default[0] == 160
    assert direct[0] == 190


def test_retention_keeps_the_last_one_longer() -> None:
    """scale-to-zero-pod-retention-period."""
    load: Load = lambda second: 1 if second < 100 else 0  # noqa: E731
    decisions = run(load, Spec(retention=120), 400)
    assert next(index * 2 for index, one in enumerate(decisions) if one.desired == 0) == 280


def test_burst_capacity_is_what_is_left_above_the_load() -> None:
    """floor(ready x total - target-burst-capacity - panic average); 0 and -1 mean what they mean."""
    observed = Observed(3, steady(50, 100))
    assert decide(observed, Spec(), 100).excess_burst_capacity == 3 * 100 - 211 - 50
    assert decide(observed, Spec(target_burst_capacity=0), 100).excess_burst_capacity == 0
    assert decide(observed, Spec(target_burst_capacity=-1), 100).excess_burst_capacity == -1


def test_weighted_exponential_believes_the_newest_most() -> None:
    """The same samples in another order give another average."""
    rising, falling = (
        [Sample(at, value) for at, value in zip(range(41, 101), values, strict=True)]
        for values in (range(60), range(59, -1, -1))
    )
    spec = Spec(aggregation="weighted-exponential", total=10, panic_threshold=1e9)
    assert decide(Observed(4, rising), spec, 100).desired > decide(Observed(4, falling), spec, 100).desired
    linear = replace(spec, aggregation="linear")
    assert decide(Observed(4, rising), linear, 100).desired == decide(Observed(4, falling), linear, 100).desired


def test_an_hour_of_a_day() -> None:
    """Quiet, a burst, an hour's wave, quiet again: never below the load's need for long, and zero at the end."""
    spec = Spec(total=10, max_scale=20)

    def load(second: float) -> float:
        if second < 300 or second > 3000:
            return 0
        if second < 360:
            return 100
        return 40 + 30 * math.sin(second / 200)

    decisions = run(load, spec, 3600)
    for index, decision in enumerate(decisions):
        second = index * 2
        if 380 < second < 3000:
            assert decision.desired >= math.floor(load(second) / 10 * 0.9), second
        assert decision.desired <= 20
    assert decisions[149].desired == 0
    assert max(one.desired for one in decisions) == 15
    assert decisions[-1].desired == 0


@given(
    st.lists(st.floats(0, 1e4), min_size=1, max_size=60),
    st.integers(0, 50),
    st.integers(0, 10),
    st.integers(0, 30),
    st.floats(1, 1000),
)
def test_bounds_hold_whatever_is_observed(values: list[float], ready: int, low: int, more: int, total: float) -> None:
    """Never below min-scale, never above max-scale."""
    samples = [Sample(at, value) for at, value in enumerate(values)]
    spec = Spec(total=total, min_scale=low, max_scale=low + more)
    desired = decide(Observed(ready, samples), spec, len(values) - 1).desired

    assert desired >= low
    assert low + more == 0 or desired <= low + more


def test_without_samples_nothing_changes() -> None:
    """Knative skips such a tick."""
    assert decide(Observed(3, []), Spec(), 100).desired == 3
