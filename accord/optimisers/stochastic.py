"""Rounding up or down at random, so that the expectation is exact: for weights that live on an int8 grid.

Gupta et al. 2015, "Deep Learning with Limited Numerical Precision", section 3, with the random bits of a keystream: the
same key, step and block give the same bits on every machine.
"""

import struct

import numpy as np
import numpy.typing as npt

from accord.bundle.grid import BLOCK
from accord.bundle.rounding import HIGHEST
from accord.prg import keystream
from accord.tensors import Vector

_NONCE = struct.Struct("<QI")
_SHARED = 4
"""Bytes behind those of the single weights, for what they share."""


class StochasticRounding:
    """Rounds changes of int8 steps, block by block; holds the memory of one block.

    Each weight has 16 random bits k of its own; a block shares 32 more, v from 0 to below 1. (k + v) / 2^16 is uniform
    for each weight, so the expectation is exact also for changes below 2^-16 of a step.

    Args:
        key: 32 bytes, of one piece of work alone.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._whole = np.empty(BLOCK, np.float32)
        self._drawn = np.empty(BLOCK, np.float32)

    def __repr__(self) -> str:
        return "StochasticRounding(...)"

    @np.errstate(all="ignore")  # what is no number is told, and infinity ends at the end of the grid
    def add(self, steps: npt.NDArray[np.int8], change: Vector, *, step: int, block: int) -> bool:
        """Change `steps` (N,) in place by `change` rounded up or down, and stop at ±127.

        Args:
            steps: at most `BLOCK` of them.
            change: float32 (N,), in steps; is overwritten.
            step: 0 for the first rounding of a model, then the number of the optimiser's step.
            block: its number within the step; no two roundings have the same two numbers.

        Returns:
            Whether every change was a number.
        """
        count = len(steps)
        bits = keystream(self._key, _NONCE.pack(step, block), 2 * count + _SHARED)
        drawn, whole = self._drawn[:count], self._whole[:count]
        drawn[:] = np.frombuffer(bits, "<u2", count)
        drawn += np.float32(int.from_bytes(bits[-_SHARED:], "little") * 2.0**-32)
        np.trunc(change, out=whole)
        np.subtract(change, whole, out=change)
        np.multiply(change, np.float32(2.0**16), out=change)
        whole += np.copysign(drawn < np.abs(change), change)  # away from zero: as exact for small changes down as up
        whole += steps
        np.clip(whole, -HIGHEST, HIGHEST, out=whole)
        numbers = not np.isnan(np.add.reduce(whole))
        steps[:] = whole if numbers else np.nan_to_num(whole)
        return bool(numbers)
