"""How a job's fixed-point scales follow what the fleet sends."""

import numpy as np
import pytest

from aggregator.scales import HEADROOM, SATURATED, Scales
from aggregator.strategies.robust import strategy
from tests.aggregator.job_answers import LAYOUT, closed, exponents, job, stepped, trained


def test_scales_follow_the_aggregate_down_by_one_and_up_at_once() -> None:
    one = job(statistics=False, rounds=10)
    assert exponents(one) == (-3, -5)
    stepped(one, trained(1e-6, 1e-6))
    assert exponents(one) == (-4, -6), "one step down at most"
    stepped(one, trained(3.0, 0.0))
    assert exponents(one) == (5, -6), "3 times the headroom is below 2^5; nothing moved: the scale stays"
    assert 2**4 < 3.0 * HEADROOM <= 2**5


def test_more_than_a_thousandth_of_cut_values_doubles_every_scale() -> None:
    """300 values of 10 devices: 3 cut ones are a thousandth, 4 are more."""
    for cut, doubled in ((3, False), (4, True)):
        one = job(statistics=False)
        step = stepped(one, trained(1e-6, 1e-6, saturated=cut))
        assert step.saturated == cut / (LAYOUT.size * 10)
        assert (step.saturated > SATURATED) is step.doubled is doubled
        assert exponents(one) == ((-2, -4) if doubled else (-4, -6))


def test_cut_values_of_several_cohorts_are_added() -> None:
    one = job(statistics=False)
    step = stepped(one, trained(1e-6, 1e-6, saturated=2), trained(1e-6, 1e-6, saturated=2))
    assert step.doubled
    assert step.figures["count"] == [8.0]


@pytest.mark.parametrize("merge", ["median", "trimmed"])
def test_one_cohort_that_lies_about_cut_values_does_not_widen_the_scales_of_a_robust_merge(merge: str) -> None:
    one = job(statistics=False)
    one._strategy = strategy(merge, 3.0)
    honest = [trained(1e-6, 1e-6) for _ in range(6)]
    step = stepped(one, *honest, trained(1e-6, 1e-6, saturated=2**31))
    assert not step.doubled
    assert exponents(one) == (-4, -6)
    assert stepped(one, *[trained(1e-6, 1e-6, saturated=100)] * 7).doubled, "what most cohorts say is believed"


@pytest.mark.parametrize(("cohorts", "believed"), [(1, True), (2, True), (3, False), (5, False)])
def test_one_device_that_claims_cut_values_without_end_is_outvoted_by_two_other_cohorts(
    cohorts: int, believed: bool
) -> None:
    one = job(statistics=False)
    before = exponents(one)
    honest = [trained(0.01, 0.01)] * (cohorts - 1)
    step = one.closed(closed(*honest, trained(0.01, 0.01, saturated=2**31)))
    assert step.doubled is believed
    assert (max(exponents(one)) > max(before)) is believed
    several = job(statistics=False)
    step = several.closed(closed(*[trained(0.01, 0.01, saturated=300)] * cohorts))
    assert step.doubled, "what a majority says is so"


@pytest.mark.parametrize(("alone", "exponent"), [(1, 3), (4, 3), (8, 4), (16, 5), (25, 5), (1_000, 5)])
def test_a_device_has_no_more_room_than_a_value_of_it_alone_needs(alone: int, exponent: int) -> None:
    """It was 8 times that: with 20 % dropouts one device of 5 rows, whose training exploded, ended a top-k job."""
    scales = Scales((0,))
    scales.follow(16, np.ones(4, np.float32), (4,), 0.0, alone=alone)
    assert scales.exponents == (exponent,)
