"""The plan: what can't be built, and the proof that the modulus holds."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError
from accord.plan import Fixed, Plan, modulus_bits
from tests.plans import PLAN


def test_a_plan_comes_back() -> None:
    assert Plan.decode(PLAN.encode()) == PLAN


@given(st.integers(2, 16), st.integers(3, 255))
def test_the_widest_sum_fits_and_one_bit_less_is_refused(value_bits: int, devices: int) -> None:
    needed = value_bits + (devices - 1).bit_length()
    assert devices * (2 ** (value_bits - 1) - 1) < 2 ** (needed - 1)
    assert devices * (2**value_bits - 1) < 2**needed
    assert modulus_bits(value_bits, devices) == max(4, needed)
    for width in (needed, needed - 1):
        fixed = Fixed(value_bits=value_bits, modulus_bits=max(4, width), exponents=(), largest_weight=1)
        if max(4, width) >= needed:
            dataclasses.replace(PLAN, cohort_cap=devices, fixed=fixed)
        else:
            with pytest.raises(CodecError, match="overflow"):
                dataclasses.replace(PLAN, cohort_cap=devices, fixed=fixed)


@pytest.mark.parametrize("change", [{"cohort_floor": 2}, {"cohort_floor": 13}, {"attempt": 0}, {"profile": "none"}])
def test_plans_that_can_not_be_built(change: dict[str, object]) -> None:
    with pytest.raises(CodecError):
        dataclasses.replace(PLAN, **change)


def test_no_width_is_wide_enough() -> None:
    with pytest.raises(CodecError, match="32 are the most"):
        modulus_bits(30, 255)
