"""Bases: made of any sums in little memory, and what they leave out never grows by itself."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.tensors import Layout
from accord.update import advance, basis, factors, subspace
from accord.update.basis import Basis
from accord.update.subspace import Subspace
from aggregator.releases import Releases


def stretched(found: Basis) -> float:
    """Return by how much B * B^T stretches a vector at most."""
    vectors = found.vectors.astype(np.float64)
    return float(np.linalg.eigvalsh(vectors.T @ vectors)[-1])


def rounded_up(entries: int) -> basis.Columns:
    """Return one column: an entry of more than half, and all others a little above half of a step."""
    column = np.full((entries, 1), 0.51 * 2.0**-7)
    column[0] = np.sqrt(1 - np.square(column[1:]).sum())
    return column


def test_a_basis_of_a_tall_matrix_takes_the_room_of_its_columns() -> None:
    columns = np.random.default_rng(0).normal(size=(1 << 18, 2))
    tracemalloc.start()
    try:
        found = basis.orthonormal(columns)
        assert tracemalloc.get_traced_memory()[1] < 6 * columns.nbytes
    finally:
        tracemalloc.stop()
    assert np.abs(found.T @ found - np.eye(2)).max() < 1e-9


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 400), st.integers(1, 8), st.integers(0, 99), st.sampled_from([0.3, 1.0, 4.0]))
def test_whatever_is_rounded_stretches_nothing_to_twice_its_length(
    entries: int, rank: int, seed: int, tails: float
) -> None:
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(entries, min(rank, entries))) * rng.lognormal(0, tails, size=(entries, 1))
    assert 0 < stretched(basis.rounded(0, basis.orthonormal(columns))) <= 1.5


def test_small_entries_that_are_all_rounded_up_do_not_make_a_residual_grow() -> None:
    columns = rounded_up(40_000)
    assert np.linalg.norm(columns) == pytest.approx(1)
    found = basis.rounded(0, columns)
    assert stretched(found) <= 1.5
    layout = Layout((("w", (8, 40_000)),))
    held, releases = Subspace(layout, 1, subspace.encode([found])), Releases(layout)
    params, norms = np.zeros(layout.size, np.float32), []
    for round_ in range(12):
        values = np.random.default_rng(round_).normal(0, 1e-3, 8).astype(np.float32)
        params, _ = releases.factored(params, values, held)
        norms.append(np.linalg.norm(np.frombuffer(releases.residual, "<f4")))
    assert max(norms[6:]) < 2 * max(norms[:6])


def test_parts_that_cancel_out_move_nothing_and_are_no_step_that_can_not_be_said() -> None:
    layout = Layout((("w", (16, 16)),))
    twice = Basis(side=0, numbers=np.full((16, 2), 91, np.int8), exponents=np.full(2, -9, np.int8))
    held, releases = Subspace(layout, 2, subspace.encode([twice])), Releases(layout)
    nothing = np.zeros(layout.size, np.float32)
    params, made = releases.factored(nothing, np.tile(np.array([100, -100], np.float32), 16), held)
    assert not params.any()
    assert made.widths == (0,)


def test_a_matrix_that_no_device_has_changed_stays_as_it_is_in_every_round() -> None:
    """A layer whose inputs are all zero: its weights lie on their grid, and nothing was left out of them."""
    layout, rng = Layout((("dead", (16, 16)), ("w", (16, 16)))), np.random.default_rng(0)
    columns = [basis.orthonormal(rng.normal(size=(16, 2))) for _ in layout.tensors]
    held = Subspace(layout, 2, subspace.encode([basis.rounded(0, one) for one in columns]))
    releases, params = Releases(layout), np.ones(layout.size, np.float32)
    for tiny in (0, 0, 1e-42, 1e-30):
        values = np.concatenate([np.full(32, tiny), rng.normal(0, 1e-3, 32)]).astype(np.float32)
        before = params
        params, made = releases.factored(before, values, held)
        assert (params[:256] == 1).all()
        assert (params[256:] != before[256:]).any()
        assert made.widths[0] == 0
        finer = dataclasses.replace(made, shifts=(-64, made.shifts[1]))  # of no numbers, in whatever steps
        followed = before.copy()
        advance.move(followed, finer, layout)
        assert followed.tobytes() == params.tobytes()


def test_what_cancels_out_or_is_too_small_leaves_no_minus_zero() -> None:
    """Which sign a sum of zeros has depends on the order in which a machine adds them."""
    held = Basis(side=1, numbers=np.ones((4, 1), np.int8), exponents=np.full(1, -9, np.int8))
    for numbers in ([-1.0, -0.0, 0.0, 1.0], [-1.0, -1.0, -1.0, -1.0]):
        part = np.tile(np.array([-0.0, 0.0, -1e-30, 1e-30], np.float32), 4)
        factors.move(part, -10, -3, held, np.array(numbers))
        assert (part == 0).all()
        assert not np.signbit(part).any()
