"""Reshapes of tensors whose axes lie in another order: done without moving a cell, or not at all, never wrongly."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantize.tflite.blocks import blocks, carried


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """A shape, the order in which its axes lie, and another shape of as many cells."""
    primes = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=6))
    before, after = (_grouped(draw, primes) for _ in range(2))
    return before, tuple(draw(st.permutations(range(len(before))))), after


def _grouped(draw: st.DrawFn, primes: list[int]) -> tuple[int, ...]:
    cuts = sorted(draw(st.sets(st.integers(1, len(primes)), max_size=4)))
    ends = [0, *cuts, len(primes)]
    return tuple(math.prod(primes[a:b]) for a, b in itertools.pairwise(ends))


@given(reshapes())
def test_what_is_carried_is_the_reshape(case: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> None:
    before, order, after = case
    cells = np.arange(math.prod(before)).reshape(before)
    lying = cells.transpose(order)
    found = carried(order, before, after)
    if found is None:
        return
    assert sorted(found) == list(range(len(after)))
    moved = lying.reshape(tuple(after[axis] for axis in found))
    assert np.array_equal(moved.transpose(np.argsort(found)), cells.reshape(after))


@given(reshapes())
def test_blocks_hold_as_many_cells_on_both_sides(
    case: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> None:
    before, _, after = case
    found = blocks(before, after)
    assert [axis for ins, _ in found for axis in ins] == list(range(len(before)))
    assert [axis for _, outs in found for axis in outs] == list(range(len(after)))
    for ins, outs in found:
        assert math.prod(before[axis] for axis in ins) == math.prod(after[axis] for axis in outs)


def test_images_become_rows_of_cells_without_a_move() -> None:
    """(N, C, H, W) with channels last as (N, C, H·W), for any batch: -1 stands for it."""
    assert carried((0, 2, 3, 1), (-1, 8, 5, 6), (-1, 8, 30)) == (0, 2, 1)
    assert carried((0, 2, 3, 1), (-1, 8, 5, 6), (-1, 240)) is None, "its channels would have to come first"
    assert carried((0, 2, 3, 1), (-1, 8, 1, 1), (-1, 8)) == (0, 1)
    assert blocks((-1, 6), (-6,)) == [([0, 1], [0])]
