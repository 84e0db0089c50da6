"""Updates as integers: the stated bound holds, the largest sum decodes exactly, and tails add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError, LocalProtocolError
from accord.plan import Fixed, Task, modulus_bits
from accord.secagg import ring
from accord.tensors import Layout
from accord.update import fixedpoint, tail

LAYOUT = Layout((("w", (2, 3)), ("b", (3,))))
FIXED = Fixed(value_bits=16, modulus_bits=24, exponents=(0, -3), largest_weight=10_000)
UNITS = fixedpoint.limits(LAYOUT.sizes, FIXED)
TOP = fixedpoint.top_value(FIXED)


@given(st.lists(st.integers(1, 20_000), min_size=3, max_size=20), st.integers(0, 2**32))
def test_the_mean_is_float_fedavg_within_one_step_per_device(rows: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    deltas = [rng.uniform(-0.1, 0.1, LAYOUT.size).astype(np.float32) for _ in rows]
    total, weights = np.zeros(LAYOUT.size, np.uint32), []
    for i, (count, delta) in enumerate(zip(rows, deltas, strict=True)):
        q, top = fixedpoint.weight(count, FIXED.largest_weight)
        weights.append(q)
        encoded = fixedpoint.encode(delta, q / top, UNITS, TOP, rng.bytes(32))
        assert encoded.saturated == 0, i
        total += encoded.values
    sums = fixedpoint.signed(ring.reduced(total, FIXED.modulus_bits), FIXED.modulus_bits)
    found = fixedpoint.mean(sums, sum(weights), top, UNITS)
    expected = np.average(deltas, axis=0, weights=np.minimum(rows, FIXED.largest_weight))
    bound = len(rows) / UNITS * (top / sum(weights)) + 1e-6
    assert (np.abs(found - expected) <= bound).all()


def test_ten_and_ten_thousand_rows_weigh_exactly_that() -> None:
    assert fixedpoint.weight(10, 10_000) == (10, 10_000)
    assert fixedpoint.weight(10_001, 10_000) == (10_000, 10_000)
    assert fixedpoint.weight(0, 10_000) == (0, 10_000)
    assert fixedpoint.weight(1, 2**31)[0] == 1
    assert max(fixedpoint.weight(2**31, 2**31)) < 2**16


@given(st.integers(3, 255), st.integers(2, 16), st.booleans())
def test_the_largest_sum_decodes_exactly(n: int, value_bits: int, negative: bool) -> None:
    bits = modulus_bits(value_bits, n)
    one = 2 ** (value_bits - 1) - 1
    total = np.array([n * (-one if negative else one)], np.int64).astype(np.uint32)
    assert fixedpoint.signed(ring.reduced(total, bits), bits)[0] == n * (-one if negative else one)


def test_rounding_is_right_on_average_and_cuts_are_counted() -> None:
    delta = np.full(LAYOUT.size, 0.3 / UNITS[0], np.float32)
    total = sum(
        fixedpoint.encode(delta, 1.0, UNITS, TOP, i.to_bytes(32, "big")).values[0].astype(np.int32) for i in range(4000)
    )
    assert abs(total / 4000 - 0.3) < 0.05
    encoded = fixedpoint.encode(np.full(LAYOUT.size, 9, np.float32), 1.0, UNITS, TOP, bytes(32))
    assert encoded.saturated == LAYOUT.size
    assert set(encoded.values.tolist()) == {TOP}


def test_what_can_not_be_encoded() -> None:
    with pytest.raises(LocalProtocolError, match="learning rate"):
        fixedpoint.encode(np.full(LAYOUT.size, np.nan, np.float32), 1.0, UNITS, TOP, bytes(32))
    with pytest.raises(CodecError, match="zero"):
        fixedpoint.mean(np.zeros(3, np.int64), 0, 1, np.ones(3, np.float32))
    with pytest.raises(CodecError, match="scales"):
        fixedpoint.limits(LAYOUT.sizes, Fixed(value_bits=16, modulus_bits=24, exponents=(0,), largest_weight=1))


@given(st.sampled_from(["classification", "binary", "regression"]), st.integers(4, 16), st.integers(1, 255), st.data())
def test_tails_add_up(kind: str, value_bits: int, devices: int, data: st.DataObject) -> None:
    layout = tail.fields(Task(kind=kind, outputs=1, target_exponent=3, transform="none"))
    figures = {f.name: data.draw(st.lists(st.integers(0, 1000), min_size=f.length, max_size=f.length)) for f in layout}
    one = tail.encode(layout, figures, value_bits)
    assert one.max(initial=0) < 2**value_bits
    bits = modulus_bits(value_bits, max(3, devices))
    found = tail.decode(layout, ring.reduced(one * np.uint32(devices), bits), value_bits)
    assert found == {name: [float(v * devices) for v in values] for name, values in figures.items()}


def test_tails_that_can_not_be() -> None:
    layout = tail.fields(Task(kind="classification", outputs=3, target_exponent=0, transform="none"))
    good = {"count": 1, "loss": 0.5, "correct": 1}
    for bad in (good | {"loss": -1}, good | {"loss": np.nan}, good | {"count": [1, 2]}):
        with pytest.raises(LocalProtocolError):
            tail.encode(layout, bad, 16)
    with pytest.raises(CodecError):
        tail.decode(layout, np.zeros(3, np.uint32), 16)
