"""The numbers that a masked cohort gives are those of float FedAvg, within the rounding of each device."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.plan import Fixed, modulus_bits
from accord.update import fixedpoint
from accord.update.pipeline import Contribution
from tests.fleet.queue_world import LAYOUT, World


class Weighted(World):
    """Devices with the rows and changes that a test gives them."""

    def __init__(self, rows: list[int], deltas: list[np.ndarray]) -> None:
        super().__init__(len(rows))
        self.rows, self.deltas = rows, deltas

    def contribution(self, name: str) -> Contribution:
        at = int(name[-2:])
        return Contribution(rows=self.rows[at], delta=self.deltas[at], figures={"count": 1, "loss": 0.25, "correct": 1})


def check(rows: list[int], exponent: int, largest: int, seed: int, profile: str, *, bits: int = 16) -> None:
    """Run one cohort and compare its mean with float64 FedAvg: each device rounds by less than one step."""
    rng = np.random.default_rng(seed)
    deltas = [(rng.uniform(-1, 1, LAYOUT.size) * 2.0**exponent).astype(np.float32) for _ in rows]
    fixed = Fixed(
        value_bits=bits, modulus_bits=modulus_bits(bits, len(rows)), exponents=(exponent,), largest_weight=largest
    )
    closed = Weighted(rows, deltas).run(fixed=fixed, cap=len(rows), profile=profile)
    assert closed is not None
    (total,) = closed.totals
    weights = [fixedpoint.weight(count, largest) for count in rows]
    summed, top = sum(q for q, _ in weights), weights[0][1]
    assert total.weight == summed
    assert total.saturated == 0
    expected = np.average(np.array(deltas, np.float64), axis=0, weights=[q for q, _ in weights])
    step = 2.0**exponent / fixedpoint.top_value(fixed) * top / summed
    error = np.abs(total.mean - expected)
    assert error.max() <= len(rows) * step + 1e-6 * 2.0**exponent
    if len(rows) > 3:  # up or down at random: the errors of n devices cancel in part, and n/2 steps are never the rule
        assert np.sqrt(np.mean(error**2)) <= len(rows) * step / 2 + 1e-6 * 2.0**exponent


@pytest.mark.parametrize("profile", ["standard", "off"])
def test_ten_rows_and_ten_thousand_in_one_cohort(profile: str) -> None:
    """A device with 10 rows beside one with 10,000: weighted as in float FedAvg, not clipped and not lost."""
    for seed in range(5):
        check([10, 10_000, 10, 300], 0, 10_000, seed, profile)
        check([10, 10_000, 10_000], -6, 16_384, seed, profile)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.integers(1, 60_000), min_size=3, max_size=7),
    exponent=st.integers(-20, 20),
    seed=st.integers(0, 2**32),
    profile=st.sampled_from(["standard", "off"]),
    bits=st.sampled_from([8, 12, 16]),
)
def test_any_weights_and_scales(rows: list[int], exponent: int, seed: int, profile: str, bits: int) -> None:
    check(rows, exponent, max(rows), seed, profile, bits=bits)


def test_more_rows_than_weights_can_say_weigh_in_equal_steps() -> None:
    """Above 65,535 rows a weight is a multiple of a step: off by half of one at most, and never zero."""
    rows = [1, 100_000, 1_000_000]
    check(rows, 0, 1 << 20, 1, "standard")
    step = -(-(1 << 20) // 65_535)
    for count in rows[1:]:
        assert abs(fixedpoint.weight(count, 1 << 20)[0] * step - count) <= step / 2


def test_a_device_without_rows_evaluates_and_weighs_nothing() -> None:
    deltas = [np.full(LAYOUT.size, 0.5, np.float32)] * 2 + [np.zeros(LAYOUT.size, np.float32)]
    closed = Weighted([10, 30, 0], deltas).run()
    assert closed is not None
    (total,) = closed.totals
    assert total.weight == 40
    assert np.allclose(total.mean, 0.5, atol=1e-3)
    assert total.figures["count"] == [3.0]


def test_cut_values_are_counted_through_the_masks() -> None:
    deltas = [np.full(LAYOUT.size, 0.5, np.float32) for _ in range(4)]
    deltas[1][2:4] = 2.5
    deltas[3][0] = -7.0
    closed = Weighted([100, 100, 100, 100], deltas).run()
    assert closed is not None
    (total,) = closed.totals
    assert total.saturated == 3
    assert total.mean is not None
    assert np.allclose(total.mean[[0, 1, 2]], [(3 * 0.5 - 1) / 4, 0.5, (3 * 0.5 + 1) / 4], atol=1e-3)
