"""The powers of two within which the values of each tensor are sent, after every round fitted to the last sum.

Wide values have room for any device's; narrow ones are cut, and how many were cut is a coordinate of the masked vector.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from accord.tensors import Vector

HEADROOM = 8.0
"""A device's change may be this many times larger than the mean's largest value before it is cut."""
SATURATED = 0.001
"""Above this share of cut wide values the scale doubles."""
WIDE = 16
"""Bits from which a scale that is too large costs nothing that matters."""
CUT_MOST, CUT_LEAST = 0.01, 0.00125
"""Narrow values are cut in this share at most and at least: below it rounding costs more than cutting would."""
OFFSETS = (-2, 6)
FIRST_OFFSET = 3
HEADROOM_ALONE = 2.0
MOST_ALONE = 16
"""Where devices choose for themselves, a value that one of them sent is that much smaller in the mean, or more: then a
device needs hardly more room than that, and one whose training explodes moves the model by as much as it has."""
_LOWEST, _HIGHEST = -40, 40


class Scales:
    """One job's.

    Args:
        exponents: the first ones, one per tensor.
    """

    def __init__(self, exponents: Sequence[int]) -> None:
        self.exponents, self.offset = tuple(exponents), FIRST_OFFSET

    def follow(self, bits: int, mean: Vector, spans: Sequence[int], saturated: float, *, alone: int = 1) -> bool:
        """Choose the next scales, and return whether so many values were cut that they go up.

        Args:
            bits: of a value of this round.
            mean: what was merged, float32 of shape (K,).
            spans: how many of its coordinates each tensor has.
            saturated: the share of values that devices had to cut.
            alone: the devices among whom a value may be that of one alone.
        """
        parts = np.split(mean.astype(np.float64), np.cumsum(spans)[:-1])
        headroom = max(HEADROOM, HEADROOM_ALONE * min(MOST_ALONE, alone))
        rule = partial(self._wide, headroom) if bits >= WIDE else self._narrow
        if saturated > CUT_MOST:
            self.offset = min(OFFSETS[1], self.offset + 1)
        elif saturated < CUT_LEAST:
            self.offset = max(OFFSETS[0], self.offset - 1)
        found = [rule(part, old, saturated) for part, old in zip(parts, self.exponents, strict=True)]
        self.exponents = tuple(max(_LOWEST, min(_HIGHEST, exponent)) for exponent in found)
        return saturated > (SATURATED if bits >= WIDE else CUT_MOST)

    @staticmethod
    def _wide(
        headroom: float, part: np.ndarray[tuple[int, ...], np.dtype[np.float64]], old: int, saturated: float
    ) -> int:
        """Down by one power at most, and up as far as it must."""
        largest = float(np.abs(part).max(initial=0.0)) * headroom
        wanted = math.ceil(math.log2(largest)) if largest > 0 else old
        return max(wanted, old + 1 if saturated > SATURATED else old - 1)

    def _narrow(self, part: np.ndarray[tuple[int, ...], np.dtype[np.float64]], old: int, _saturated: float) -> int:
        """So many powers from the root mean square, two in a round at most: the noise of rounding is in it, too."""
        used = part[part != 0]
        if not used.size:
            return old
        wanted = math.ceil(math.log2(math.sqrt(float(np.mean(used**2))))) + self.offset
        return max(old - 2, min(old + 2, wanted))
