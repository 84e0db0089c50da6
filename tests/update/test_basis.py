"""Bases: made of any sums in little memory, and what they leave out never grows by itself."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.tensors import Layout
from accord.update import basis, subspace
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
    params, made = releases.factored(nothing, np.tile(np.float32([100, -100]), 16), held)
    assert not params.any()
    assert made.widths == (0,)
