"""How a round's change becomes the next release: few bits on a grid, and nothing that rounding leaves is lost.

Per tensor the grid is 2^g with |w| <= 2^(g+23), so that float32 holds every release exactly. A change is a whole number
of steps 2^s >= 2^g; or, where a round was of low rank, the product of its basis and of whole numbers, so that what it
takes to say it is as little as what the devices sent. What is left stays here and is added to the next change (error
feedback, Seide et al. 2014); blocks that a round does not touch stay as they are. Sans-IO.
"""

import math
from collections.abc import Sequence

import numpy as np

from accord.errors import CodecError, UsageError
from accord.tensors import Layout, Vector
from accord.update import advance, blocks, factors
from accord.update.advance import FINEST, FINEST_SHIFT, Advance
from accord.update.basis import Basis
from accord.update.coordinates import Coordinates
from accord.update.factors import Steps, whole
from accord.update.subspace import Subspace

RELEASE_BITS = 8
"""Of one value of a release's change, if nobody asks for another width."""
FEWEST_BITS, MOST_BITS = 2, 24


class Releases:
    """The releases of one job.

    Args:
        layout: the model's trainable tensors.
        bits: of one value of a change, 2 to 24: its sign, and its size in steps.

    Raises:
        UsageError: another number of bits.
    """

    def __init__(self, layout: Layout, bits: int = RELEASE_BITS) -> None:
        self._layout, self._top = layout, 2 ** (check_bits(bits) - 1) - 1
        self.grid: tuple[int, ...] = (FINEST,) * len(layout.tensors)
        """The exponent of each tensor's grid, which never becomes finer."""
        self._residual = np.zeros(layout.size, np.float32)

    @property
    def residual(self) -> bytes:
        """What rounding has left so far, little-endian float32 of shape (P,); empty if there is nothing."""
        return self._residual.astype("<f4").tobytes() if self._residual.any() else b""

    def restore(self, grid: Sequence[int], residual: bytes) -> None:
        """Go on from where the job stood.

        Raises:
            CodecError: they are another model's.
        """
        if len(grid) != len(self.grid) or len(residual) not in (0, 4 * self._layout.size):
            raise CodecError("what was kept of the releases is another model's")
        self.grid = tuple(grid)
        self._residual = np.zeros(self._layout.size, np.float32)
        if residual:
            self._residual[:] = np.frombuffer(residual, "<f4")

    def after(self, params: Vector, values: Vector, coordinates: Coordinates) -> tuple[Vector, Advance | None]:
        """Return the next release after a round, float32 of shape (P,), and what leads to it, if anything does.

        Args:
            params: the last release.
            values: the merged coordinates, float32 of shape (K,).
            coordinates: the map that they are of.
        """
        if isinstance(coordinates, Subspace):
            return self.factored(params, values, coordinates)
        released = self.next(params, coordinates.put(values))
        return released, advance.between(params, released, self._layout)

    def next(self, params: Vector, change: Vector) -> Vector:
        """Return the next release, float32 of shape (P,).

        Args:
            params: the last release.
            change: what the round found, of the same shape; a block of zeros stays as it is.
        """
        released, touched, grid = np.empty_like(params), blocks.touched(change), []
        for place, before in zip(self._layout.places, self.grid, strict=True):
            part = slice(place.offset, place.offset + place.size)
            here = blocks.members(touched, part.start, part.stop)
            old, left = params[part].astype(np.float64), self._residual[part].astype(np.float64)
            wanted = np.where(here, left + change[part], 0.0)
            g = _grid(before, old, wanted)
            step = max(g, self._step(wanted))
            new = whole(old, g) + np.rint(wanted * 2.0**-step) * 2.0 ** (step - g)
            released[part] = new * 2.0**g + 0.0  # which takes the sign off a zero: a delta has none
            self._residual[part] = old + left + change[part] - released[part]
            grid.append(g)
        self.grid = tuple(grid)
        return released

    def factored(self, params: Vector, values: Vector, subspace: Subspace) -> tuple[Vector, Advance]:
        """Return the next release after a round of low rank, float32 of shape (P,), and what leads to it.

        What was left out before is taken into the round's bases first: what does not fit them waits for others, as a
        device's residual does.

        Args:
            params: the last release.
            values: the merged coordinates, float32 of shape (K,).
            subspace: the map that they are of.
        """
        released, wanted = params.copy(), values + subspace.take(self._residual)
        grid, shifts, numbers, ends = [], [], [], np.cumsum((0, *subspace.spans))
        for at, (place, basis) in enumerate(zip(self._layout.places, subspace.bases, strict=True)):
            old = params[place.offset : place.offset + place.size].astype(np.float64)
            mine = wanted[ends[at] : ends[at + 1]].astype(np.float64)
            if basis is None:
                g = _grid(self.grid[at], old, mine)
                step = max(g, self._step(mine))
                steps = np.rint(mine * 2.0**-step)
            else:
                units = mine * _units(basis, mine.size)  # so that a step of each product is the same
                step = self._step(units)
                steps = np.rint(units * 2.0**-step)
                left, right = factors.sides(basis, steps)
                product = (left @ right).ravel() * 2.0**step
                g = _grid(self.grid[at], old, product)
                # Far too small to be seen on the grid, or the parts cancel out: nothing is moved.
                if step - g < FINEST_SHIFT or not product.any():
                    step, steps = g, np.zeros_like(steps)
            grid.append(g)
            shifts.append(step - g)
            numbers.append(steps.astype(np.int64))
        found = advance.made(
            grid=grid, shifts=shifts, numbers=numbers, places=b"", rank=subspace.rank, support=subspace.support
        )
        assert found is not None, "numbers of at most 24 bits"
        advance.move(released, found, self._layout)
        self._residual += subspace.put(values)
        self._residual -= released.astype(np.float64) - params
        self.grid = tuple(grid)
        return released, found

    def _step(self, wanted: Steps) -> int:
        """Return the exponent of the finest step in which all values have so many bits."""
        return _exponent(float(np.abs(wanted).max()) / self._top)


def _grid(before: int, old: Steps, wanted: Steps) -> int:
    """Return the exponent of a tensor's grid that holds what its values are, and what they are to become."""
    return max(before, _exponent(float(max(np.abs(old).max(), np.abs(old + wanted).max()))) - 23)


def _units(basis: Basis, size: int) -> Steps:
    """Return for each coordinate of a matrix the length of its vector's unit, float64 of shape (size,)."""
    units, rank = 2.0 ** basis.exponents.astype(np.float64), basis.exponents.size
    return np.repeat(units, size // rank) if basis.side else np.tile(units, size // rank)


def check_bits(bits: int) -> int:
    """Return a number of bits.

    Raises:
        UsageError: it is not from 2 to 24.
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise UsageError(f"release_bits {bits} is not from {FEWEST_BITS} to {MOST_BITS}")
    return bits


def _exponent(size: float) -> int:
    """Return the smallest e with size <= 2^e."""
    mantissa, exponent = math.frexp(size)
    return FINEST if size == 0 else exponent - (mantissa == 0.5)
