"""What several rules do along one axis: put cells back into their places, or multiply by a constant matrix."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from quantize.differentiate.tape import Tape


def put_back(tape: Tape, slope: str, places: Sequence[int], size: int, *, axis: int, rank: int) -> str:
    """Return zeros of length `size` along `axis`, with cell i of `slope` at `places[i]`; places differ.

    Args:
        tape: where nodes go.
        slope: of rank `rank` and length len(places) along `axis`.
        places: from 0 to size - 1.
        size: the length that comes out.
        axis: not negative.
        rank: of the tensor.
    """
    if list(places) == list(range(size)):
        return slope
    if list(places) == list(range(places[0], places[0] + len(places))):
        return padded(tape, slope, {axis: (places[0], size - places[0] - len(places))}, rank)
    # A zero is put behind the last cell, and every place that nobody fills reads it.
    source = np.full(size, len(places), np.int64)
    source[list(places)] = np.arange(len(places))
    longer = padded(tape, slope, {axis: (0, 1)}, rank)
    return tape.add("Gather", longer, tape.constant(source, np.int64), axis=axis)


def padded(tape: Tape, name: str, borders: dict[int, tuple[int, int]], rank: int) -> str:
    """Return `name` with zeros before and behind the axes in `borders`."""
    before, behind = ([borders.get(axis, (0, 0))[side] for axis in range(rank)] for side in (0, 1))
    return tape.add("Pad", name, tape.whole(*before, *behind)) if any(before) or any(behind) else name


def times(tape: Tape, name: str, matrix: npt.NDArray[np.float32], axis: int, rank: int) -> str:
    """Return, along `axis`, the product of the cells of `name` and a matrix (cells, cells that come out)."""
    if axis == rank - 1:
        return tape.add("MatMul", name, tape.constant(matrix, np.float32))
    if axis == rank - 2:
        return tape.add("MatMul", tape.constant(matrix.T, np.float32), name)
    last = [*(a for a in range(rank) if a != axis), axis]
    turned = tape.add("MatMul", tape.add("Transpose", name, perm=last), tape.constant(matrix, np.float32))
    return tape.add("Transpose", turned, perm=[int(place) for place in np.argsort(last)])
