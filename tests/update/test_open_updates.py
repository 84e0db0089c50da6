"""Open updates: what is sent and what is kept are what there was, and no bytes make more than the plan asks for."""

import dataclasses
import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError, Refusal
from accord.plan import Fixed, Update, modulus_bits
from accord.secagg import ring
from accord.tensors import Vector
from accord.update import compression, packing, sparse, topk, varints
from accord.update.pipeline import Contribution, Form
from tests.update.test_pipeline import PLAN
from tests.update.test_support import FIGURES, LAYOUT, change, mean_of, one_round

Read = TypeVar("Read")
EXPONENTS = (0, -1, 1, 2)
UPDATES = st.builds(
    lambda kind, share, bits, name: Update(
        kind=kind, share=share, bits=1 if kind == "ternary" else bits, feedback=10, compression=name
    ),
    st.sampled_from(["topk", "ternary"]),
    st.sampled_from([1, 10_000, 300_000, 1_000_000]),
    st.sampled_from([8, 4, 1]),
    st.sampled_from(compression.COMPRESSIONS),
)


def form(update: Update, devices: int = 12) -> Form:
    fixed = Fixed(
        value_bits=16,
        modulus_bits=modulus_bits(16, devices),
        exponents=EXPONENTS[: len(LAYOUT.tensors)],
        largest_weight=100,
    )
    plan = dataclasses.replace(PLAN, profile="off", fixed=fixed, update=update, length=LAYOUT.size, cohort_cap=devices)
    return Form(plan, LAYOUT)


def shape(**changes: object) -> sparse.Shape:
    usual = sparse.Shape(size=1_000, most=40, steps=2, bits=8, figures=3, compression="zlib")
    return dataclasses.replace(usual, **changes)


@given(UPDATES, st.integers(0, 99), st.integers(0, 200), st.booleans())
def test_the_aggregator_reads_the_integers_that_the_device_made(
    update: Update, seed: int, rows: int, empty: bool
) -> None:
    one = form(update)
    delta = np.zeros(LAYOUT.size, np.float32) if empty else change(seed)
    coded = one.coded(Contribution(rows=rows, delta=delta, figures=FIGURES), seed.to_bytes(32, "little"))
    data = one.pack(coded)
    assert len(data) <= one.largest
    assert (one.unpack(data) == coded.vector).all()
    values = coded.vector[: one.parameters].view(np.int32)
    assert np.count_nonzero(values) <= topk.most(update.share, LAYOUT.size)
    assert np.abs(values).max() <= 2**15 - 1


@given(UPDATES, st.integers(0, 99))
def test_a_sum_and_what_its_devices_keep_are_what_they_had(update: Update, seed: int) -> None:
    """Nothing is lost: the mean that is sent and the mean of the residuals are the mean of what was to be sent."""
    one = form(update)
    read, had, kept = one_round(one, seed, 0.02, lambda coded: one.unpack(one.pack(coded)))
    assert read.mean is not None
    assert read.saturated == 0
    assert np.allclose(read.mean + mean_of(kept), mean_of(had), atol=2e-4)


@given(st.sampled_from([8, 4]), st.integers(0, 99), st.sampled_from([10_000, 1_000_000]))
def test_each_value_comes_back_within_a_step_and_the_largest_ones_are_sent(bits: int, seed: int, share: int) -> None:
    one, delta = form(Update(kind="topk", share=share, bits=bits, feedback=10, compression="zlib")), change(seed)
    coded = one.coded(Contribution(rows=100, delta=delta, figures=FIGURES), bytes(32))
    assert coded.sparse is not None
    mean = one.decode(ring.reduced(one.unpack(one.pack(coded)), one.bits)).mean
    assert mean is not None
    places = coded.sparse.places
    steps = np.repeat(coded.sparse.steps, LAYOUT.sizes) * np.repeat(np.ldexp(1.0, np.array(EXPONENTS)), LAYOUT.sizes)
    bound = steps / (2**15 - 1) + 1e-6
    assert (np.abs(mean - delta)[places] <= bound[places]).all()
    others = np.setdiff1d(np.arange(LAYOUT.size), places)
    assert np.abs(delta[others]).max(initial=0) <= np.abs(delta[places]).min()


def test_signs_come_with_the_mean_magnitude_of_their_tensor_or_of_all() -> None:
    delta = np.zeros(LAYOUT.size, np.float32)
    delta[[0, 1, LAYOUT.sizes[0]]] = 0.5, -0.25, 0.03
    found: dict[str, Vector] = {}
    for kind in ("topk", "ternary"):
        one = form(Update(kind=kind, share=1_000_000, bits=1, compression="zlib"))
        coded = one.coded(Contribution(rows=100, delta=delta, figures=FIGURES), bytes(32))
        mean = one.decode(ring.reduced(one.unpack(one.pack(coded)), one.bits)).mean
        assert mean is not None
        found[kind] = mean[[0, 1, 2, LAYOUT.sizes[0]]]
    assert np.allclose(found["topk"], [0.375, -0.375, 0, 0.03], atol=1e-4)
    assert np.allclose(found["ternary"], [0.26, -0.26, 0, 0.26], atol=1e-4)


def test_what_a_scale_cuts_is_counted_and_in_no_residual() -> None:
    delta = change(1)
    delta[0] = 50.0
    one = form(Update(kind="topk", share=100_000, bits=8, feedback=10, compression="zlib"))
    coded = one.coded(Contribution(rows=100, delta=delta, figures=FIGURES), bytes(32))
    assert coded.left is not None
    assert abs(coded.left[0]) < 0.01, "49 of it were cut, and are gone"
    assert one.decode(ring.reduced(coded.vector, one.bits)).saturated == 1


def read_or_refused(step: Callable[[], Read]) -> Read | None:
    """Return what a step reads, or None if it refuses by one of the two names."""
    try:
        return step()
    except Refusal as refusal:
        if refusal.reason not in {"CorruptUpdate", "OversizeUpdate"}:
            raise
        return None


@given(st.binary(max_size=120), st.sampled_from([8, 4, 1]), st.sampled_from(compression.COMPRESSIONS))
def test_any_bytes_are_read_or_refused_by_name(data: bytes, bits: int, name: str) -> None:
    asked = shape(bits=bits, compression=name)
    found = read_or_refused(lambda: sparse.decode(data, asked))
    if found is None:
        return
    again = sparse.decode(sparse.encode(found, asked), asked)
    assert (again.places == found.places).all()
    assert (again.values == found.values).all()


@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 99), st.sampled_from(compression.COMPRESSIONS))
def test_a_changed_byte_is_read_as_something_within_bounds_or_refused(at: int, to: int, seed: int, name: str) -> None:
    one = form(Update(kind="topk", share=300_000, bits=4, compression=name))
    coded = one.coded(Contribution(rows=100, delta=change(seed), figures=FIGURES), bytes(32))
    data = bytearray(one.pack(coded))
    data[at % len(data)] = to
    vector = read_or_refused(lambda: one.unpack(bytes(data)))
    if vector is None:
        return
    assert vector.shape == (one.length,)
    assert np.abs(vector[: one.parameters].view(np.int32)).max() <= 2**15 - 1


@pytest.mark.parametrize("name", compression.COMPRESSIONS)
def test_a_stream_without_end_is_left_where_it_passes_the_bound(name: str) -> None:
    bomb = (
        zlib.compress(bytes(50_000_000)) if name == "zlib" else zstandard.ZstdCompressor().compress(bytes(50_000_000))
    )
    with pytest.raises(Refusal) as refused:
        compression.decompress(name, bomb, 100)
    assert refused.value.reason == "OversizeUpdate"
    whole = compression.compress(name, b"gap" * 100)
    assert compression.decompress(name, whole, 300) == b"gap" * 100
    for lie in (whole[:-1], whole + b"\x00", b"", b"\x00" * 9):
        with pytest.raises(CodecError):
            compression.decompress(name, lie, 300)


@given(st.lists(st.integers(0, 2**28 - 1), max_size=50))
def test_numbers_come_back_from_their_shortest_form(numbers: list[int]) -> None:
    data = varints.encode(np.array(numbers, np.int64))
    assert varints.decode(data).tolist() == numbers
    assert len(data) == sum(max(1, -(-number.bit_length() // 7)) for number in numbers)


@given(st.binary(max_size=30))
def test_bytes_have_one_reading_as_numbers_or_none(data: bytes) -> None:
    try:
        found = varints.decode(data)
    except CodecError:
        return
    assert varints.encode(found) == data


def test_the_largest_update_is_what_a_plan_can_ask_for() -> None:
    one = form(Update(kind="topk", share=1_000_000, bits=8, compression="zlib"))
    tail = packing.packed_size(one.length - one.parameters, 16)
    assert one.largest == 9 + 4 * len(LAYOUT.tensors) + (4 + 1) * LAYOUT.size + tail
    dense = form(Update())
    assert dense.largest == packing.packed_size(dense.length, dense.bits)
