"""A matrix's change as the product of a basis of whole numbers and of whole numbers that stand for its coordinates.

Exact, so it is the same on every machine: a number of a basis has 8 bits, one of the coordinates at most 32, and at
most 256 products are added, so that no partial sum is above 2^46. float64 holds each of those as it is, whatever the
order in which a machine adds them up, and with or without fused operations.
"""

import numpy as np
import numpy.typing as npt

from accord.tensors import Vector
from accord.update.basis import Basis

AT_ONCE = 1 << 16
"""Parameters that are taken at once: float64 copies of a whole tensor would be more than a device has room for."""
Steps = npt.NDArray[np.float64]


def whole(values: npt.NDArray[np.floating], exponent: int) -> Steps:
    """Return whole numbers of 2^exponent, ties to even, exact in float64; adding zero takes the sign off a zero."""
    return np.rint(values.astype(np.float64) * 2.0**-exponent) + 0.0


def sides(basis: Basis, numbers: Steps) -> tuple[Steps, Steps]:
    """Return the matrices whose product the change is, float64 of shapes (r, rank) and (rank, c).

    Args:
        basis: of the matrix.
        numbers: whole numbers that stand for its coordinates, in their order.
    """
    rank, entries = basis.exponents.size, basis.numbers.astype(np.float64)
    return (entries, numbers.reshape(rank, -1)) if basis.side else (numbers.reshape(-1, rank), entries.T)


def move(part: Vector, grid: int, shift: int, basis: Basis, numbers: Steps) -> None:
    """Add a product, in steps of 2^(grid + shift), to a matrix on its grid, in place and a stretch at a time.

    Args:
        part: the flat matrix, float32.
        grid: the exponent of its grid.
        shift: the exponent of a step, in units of the grid; below 0 products are rounded to the grid, ties to even.
        basis: of the matrix.
        numbers: whole numbers that stand for its coordinates, of 32 bits.
    """
    left, right = sides(basis, numbers)
    matrix = part.reshape(len(left), -1)
    rows = max(1, AT_ONCE // matrix.shape[1])
    for top in range(0, len(matrix), rows):
        for start in range(0, matrix.shape[1], AT_ONCE):
            stretch = matrix[top : top + rows, start : start + AT_ONCE]
            steps = np.rint((left[top : top + rows] @ right[:, start : start + AT_ONCE]) * 2.0**shift)
            with np.errstate(over="ignore", invalid="ignore"):
                stretch[:] = (whole(stretch, grid) + steps) * 2.0**grid
