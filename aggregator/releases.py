"""How a round's change becomes the next release: few bits on a grid, and nothing that rounding leaves is lost.

Per tensor the grid is 2^g with |w| <= 2^(g+23), so that float32 holds every release exactly, and a change is a whole
number of steps 2^s >= 2^g. What is left stays here and is added to the next change of the same blocks (error feedback,
Seide et al. 2014); blocks that a round does not touch stay as they are. Sans-IO, and the same on every machine.
"""

import math
from collections.abc import Sequence

import numpy as np

from accord.errors import CodecError, UsageError
from accord.tensors import Layout, Vector
from accord.update import blocks
from accord.update.delta import FINEST

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
            g = max(before, _exponent(float(np.abs(old + wanted).max())) - 23)
            step = max(g, _exponent(float(np.abs(wanted).max()) / self._top))
            new = np.rint(old * 2.0**-g) + np.rint(wanted * 2.0**-step) * 2.0 ** (step - g)
            released[part] = new * 2.0**g + 0.0  # which takes the sign off a zero: a delta has none
            self._residual[part] = old + left + change[part] - released[part]
            grid.append(g)
        self.grid = tuple(grid)
        return released


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
