"""Supports: what is taken and put back is a projection, sums are exact, and bytes that do not fit are refused."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError, LocalProtocolError
from accord.plan import Fixed, Update, modulus_bits
from accord.prg import digest
from accord.secagg import ring
from accord.tensors import Layout, Vector
from accord.update import basis, feedback, fixedpoint, subspace
from accord.update import block_support as blocks
from accord.update.pipeline import Coded, Contribution, Form, Total
from accord.update.support import opened
from tests.update.test_pipeline import PLAN

LAYOUT = Layout((("w", (24, 10)), ("b", (24,)), ("k", (12, 3, 2, 2)), ("s", ())))
FIGURES = {"count": 7, "loss": 1.5, "correct": 3}


def bitmap(seed: int, block: int, share: int) -> tuple[Update, bytes]:
    count = blocks.count(LAYOUT.size, block)
    mask = np.zeros(count, bool)
    mask[np.random.default_rng(seed).permutation(count)[: blocks.chosen(share, count)]] = True
    data = blocks.encode(mask)
    return Update(
        kind="block-score", block=block, share=share, feedback=10, score_exponent=-6, support_digest=digest(data)
    ), data


def bases(seed: int, rank: int) -> tuple[Update, bytes]:
    rng, found = np.random.default_rng(seed), []
    for _, shape in LAYOUT.tensors:
        sides = subspace.matrix(shape, rank)
        if sides is not None:
            side = int(rng.integers(2))
            found.append(basis.rounded(side, basis.orthonormal(rng.normal(size=(sides[1 - side], rank)))))
    data = subspace.encode(found)
    return Update(kind="low-rank", rank=rank, feedback=10, support_digest=digest(data)), data


ROWS = (3, 50, 100, 7)
"""Of the devices of a round."""


def mean_of(vectors: list[Vector]) -> Vector:
    """Return the mean over devices, each by its rows."""
    found: Vector = np.average(vectors, axis=0, weights=ROWS)
    return found


def one_round(
    one: Form, seed: int, scale: float, carried: Callable[[Coded], ring.Ring]
) -> tuple[Total, list[Vector], list[Vector]]:
    """Return what the sum of four devices says, what each had to send, and what each keeps; every other has a residual.

    Args:
        one: the form of the round.
        seed: of the changes and of rounding.
        scale: of the changes.
        carried: gives the vector that the aggregator adds for what a device made.
    """
    rng, had, kept = np.random.default_rng(seed), list[Vector](), list[Vector]()
    total = np.zeros(one.length, np.uint32)
    for at, count in enumerate(ROWS):
        before = change(seed + at + 50, 0.01) if at % 2 else None
        delta = change(seed + at, scale)
        coded = one.coded(Contribution(rows=count, delta=delta, figures=FIGURES), rng.bytes(32), before)
        assert coded.left is not None
        total += carried(coded)
        had.append(delta if before is None else delta + before)
        kept.append(coded.left)
    read = one.decode(ring.reduced(total, one.bits))
    assert read.figures["count"] == [28.0]
    return read, had, kept


SUPPORTS = st.one_of(
    st.builds(bitmap, st.integers(0, 99), st.sampled_from([1, 7, 64, 500]), st.sampled_from([1, 100_000, 1_000_000])),
    st.builds(bases, st.integers(0, 99), st.integers(1, 12)),
)


def form(update: Update, support: bytes, value_bits: int = 8, devices: int = 12) -> Form:
    fixed = Fixed(
        value_bits=value_bits,
        modulus_bits=modulus_bits(value_bits, devices),
        exponents=(0,) * len(LAYOUT.tensors),
        largest_weight=100,
    )
    return Form(
        dataclasses.replace(PLAN, fixed=fixed, update=update, length=LAYOUT.size, cohort_cap=devices), LAYOUT, support
    )


def change(seed: int, size: float = 0.1) -> Vector:
    return np.random.default_rng(seed).normal(0, size, LAYOUT.size).astype(np.float32)


@given(SUPPORTS, st.integers(0, 99))
def test_what_was_put_back_is_taken_again_and_the_rest_stays(asked: tuple[Update, bytes], seed: int) -> None:
    found = opened(*asked, LAYOUT)
    values = found.take(change(seed))
    assert values.shape == (sum(found.spans),)
    shown = found.put(values)
    assert np.abs(found.take(shown) - values).max() <= 0.06 * np.abs(values).max(), "orthonormal to some hundredths"
    assert np.linalg.norm(change(seed) - shown) <= np.linalg.norm(change(seed)) * 1.001


@given(SUPPORTS, st.integers(0, 99), st.sampled_from([2, 4, 8, 16]))
def test_a_sum_and_what_its_devices_keep_are_what_they_had(
    asked: tuple[Update, bytes], seed: int, value_bits: int
) -> None:
    """Nothing is lost: the mean that is sent and the mean of the residuals are the mean of what was to be sent."""
    one = form(*asked, value_bits)
    read, had, kept = one_round(one, seed, 0.05, lambda coded: coded.vector)
    assert read.mean is not None
    together = one.coordinates.put(read.mean) + mean_of(kept)
    limit = [10 * float(np.linalg.norm(change(seed + at, 0.05))) for at in range(4)]
    if all(np.linalg.norm(left) < 0.99 * most for left, most in zip(kept, limit, strict=True)) and not read.saturated:
        assert np.allclose(together, mean_of(had), atol=2e-4)


@given(SUPPORTS, st.integers(3, 40), st.integers(2, 16), st.booleans())
def test_the_sum_of_maximal_devices_decodes_exactly_and_one_bit_less_is_refused(
    asked: tuple[Update, bytes], devices: int, value_bits: int, negative: bool
) -> None:
    one = form(*asked, value_bits, devices)
    top = fixedpoint.top_value(one.plan.fixed)
    delta = np.full(LAYOUT.size, -1e6 if negative else 1e6, np.float32)
    full = one.encode(Contribution(rows=100, delta=delta, figures=FIGURES), bytes(32))
    total = ring.reduced(full * np.uint32(devices), one.bits)
    sums = fixedpoint.signed(total[: one.parameters], one.bits)
    assert set(np.abs(sums)) <= {0, devices * top} | set(range(devices * top + 1))
    if asked[0].kind == "block-score":
        assert set(sums) == {(-top if negative else top) * devices}
    narrow = dataclasses.replace(one.plan.fixed, modulus_bits=one.bits - 1) if one.bits > 4 else None
    if narrow is not None:
        with pytest.raises(CodecError, match="overflow"):
            dataclasses.replace(one.plan, fixed=narrow)


def test_what_the_clip_cuts_is_in_no_residual() -> None:
    update, support = bitmap(1, 64, 1_000_000)
    delta = change(1)
    delta[0] = 50.0
    coded = form(update, support).coded(Contribution(rows=100, delta=delta, figures=FIGURES), bytes(32))
    assert coded.left is not None
    assert abs(coded.left[0]) < 0.01, "49 of it were cut, and are gone"


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_refused_where_it_would_not_be_sent_either(wrong: float) -> None:
    update, support = bitmap(1, 7, 100_000)
    one, delta = form(update, support), change(1)
    unsent = int(np.flatnonzero(one.coordinates.put(one.coordinates.take(np.ones_like(delta))) == 0)[0])
    delta[unsent] = wrong
    with pytest.raises(LocalProtocolError, match="NaN or infinity"):
        one.coded(Contribution(rows=100, delta=delta, figures=FIGURES), bytes(32))


def test_a_residual_that_might_be_too_large_for_a_float_is_dropped() -> None:
    update, support = bitmap(1, 7, 100_000)
    one, huge = form(update, support), np.full(LAYOUT.size, 3e38, np.float32)
    huge = (huge - one.coordinates.put(one.coordinates.take(huge))).astype(np.float32)
    coded = one.coded(Contribution(rows=100, delta=huge, figures=FIGURES), bytes(32))
    assert coded.left is not None
    assert not coded.left.any()
    assert feedback.capped(np.full(3, 3e38, np.float32), np.ones(3, np.float32), 10).any(), "as the change is sane"


def test_a_device_without_rows_keeps_its_residual_and_sends_nothing_of_it() -> None:
    one, left = form(*bitmap(1, 7, 100_000)), change(3)
    coded = one.coded(Contribution(rows=0, figures=FIGURES), bytes(32), left)
    assert coded.left is left
    assert not coded.vector[: one.parameters].any()


def test_scores_are_summed_within_a_step_per_device() -> None:
    one = form(*bitmap(2, 64, 100_000))
    total = np.zeros(one.length, np.uint32)
    for seed in range(4):
        total += one.encode(Contribution(rows=100, delta=change(seed), figures=FIGURES), bytes([seed] * 32))
    read = one.decode(ring.reduced(total, one.bits))
    norms = sum(opened(*bitmap(2, 64, 100_000), LAYOUT).scores(change(seed)) for seed in range(4))
    assert np.abs(np.array(read.scores) - norms).max() <= 4 * 2.0**-6


def test_two_rounds_of_bases_find_a_change_of_low_rank() -> None:
    """A power iteration: what all devices have in common is sent whole as soon as the basis has turned to it."""
    layout = Layout((("w", (40, 30)),))
    rng = np.random.default_rng(0)
    target = (rng.normal(size=(40, 2)) @ rng.normal(size=(2, 30))).astype(np.float32).ravel()
    data = subspace.encode([basis.rounded(0, basis.orthonormal(rng.normal(size=(30, 2))))])
    missed = []
    for _ in range(3):
        found = subspace.Subspace(layout, 2, data)
        sent = found.take(target)
        missed.append(np.linalg.norm(target - found.put(sent)) / np.linalg.norm(target))
        data = subspace.encode(found.following(sent))
    assert missed[0] > 0.5
    assert missed[1] < 2e-2, "but for what whole numbers miss"


def test_bases_of_nothing_are_bases() -> None:
    found = basis.orthonormal(np.zeros((5, 3)))
    assert np.allclose(found.T @ found, np.eye(3))
    twice = basis.orthonormal(np.ones((5, 2)))
    assert np.allclose(twice.T @ twice, np.eye(2), atol=1e-6)


@given(SUPPORTS)
def test_supports_that_do_not_fit_are_refused(asked: tuple[Update, bytes]) -> None:
    update, data = asked
    with pytest.raises(CodecError, match="names"):
        opened(update, data + b"\x00", LAYOUT)
    for wrong in (data + b"\x00", data[:-1], b""):
        if wrong != data:
            with pytest.raises(CodecError):
                opened(dataclasses.replace(update, support_digest=digest(wrong)), wrong, LAYOUT)
    with pytest.raises(CodecError, match="no support"):
        opened(Update(), b"x", LAYOUT)


def without(numbers: bytes, entries: int) -> bytes:
    """Return a basis of two vectors of so many entries, and what follows, with zeros for the first vector."""
    rows = np.frombuffer(numbers, np.int8)[: 2 * entries].reshape(-1, 2).copy()
    rows[:, 0] = 0
    return rows.tobytes() + numbers[rows.size :]


def test_other_blocks_than_the_share_and_numbers_that_are_none_are_refused() -> None:
    update, data = bitmap(1, 64, 100_000)
    more = bytes([data[0] ^ 0xFF]) + data[1:]
    with pytest.raises(CodecError, match="blocks"):
        opened(dataclasses.replace(update, support_digest=digest(more)), more, LAYOUT)
    update, data = bases(1, 2)
    for about, wrong in (
        ("exponent", data[:1] + b"\xfb" + data[2:]),
        ("exponent", data[:2] + b"\xdf" + data[3:]),
        ("zero", data[:3] + without(data[3:], 10 if data[0] == 0 else 24)),
    ):
        with pytest.raises(CodecError, match=about):
            opened(dataclasses.replace(update, support_digest=digest(wrong)), wrong, LAYOUT)
    side = b"\x02" + data[1:]
    with pytest.raises(CodecError, match="side"):
        opened(dataclasses.replace(update, support_digest=digest(side)), side, LAYOUT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "dense", "feedback": 1},
        {"kind": "dense", "rank": 1},
        {"kind": "low-rank", "rank": 2, "support_digest": bytes(32), "line": 1},
        {"kind": "block-score", "block": 64, "share": 0, "support_digest": bytes(32)},
        {"kind": "block-score", "block": 64, "share": 1, "support_digest": b""},
        {"kind": "low-rank", "rank": 2, "support_digest": bytes(31)},
        {"kind": "low-rank", "rank": 2, "score_exponent": 1, "support_digest": bytes(32)},
    ],
)
def test_updates_that_can_not_be_built(wrong: dict[str, object]) -> None:
    with pytest.raises(CodecError, match="update of kind"):
        Update(**wrong)  # type: ignore[arg-type]


@given(st.integers(1, 50), st.integers(0, 99), st.sampled_from([0.0, 1e-30, 1e-3, 1e30]))
def test_a_residual_comes_back_within_its_bound(size: int, seed: int, scale: float) -> None:
    values = (np.random.default_rng(seed).normal(size=size) * scale).astype(np.float32)
    found = feedback.decode(feedback.encode(values), size)
    largest = np.abs(values).max()
    assert (np.abs(found - values) <= np.abs(values) / 2048 + largest * 2.0**-24).all()
    with pytest.raises(CodecError, match="size"):
        feedback.decode(feedback.encode(values), size + 1)


def test_a_residual_is_not_longer_than_it_may_be() -> None:
    left, one = np.full(4, 3.0, np.float32), np.full(4, 0.5, np.float32)
    assert np.allclose(feedback.capped(left, one, 2), 1.0)
    assert feedback.capped(left, one, 6) is left
    assert not feedback.capped(left, np.zeros(4, np.float32), 6).any()
