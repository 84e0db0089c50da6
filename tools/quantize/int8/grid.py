"""The grid of int8 values onto which one tensor is rounded: value = scale * (q - zero point), q from -128 to 127."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError

LOW, HIGH = -128, 127
SMALLEST_SCALE = 2.0**-40
"""A tensor of zeros gets this scale, so that nothing is divided by zero."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """An activation's grid. `zero_point` is -128 for what is never negative, 0 for a symmetric one.

    Raises:
        UsageError: the scale is not a positive finite number, or the zero point no int8.
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (0.0 < self.scale < math.inf and LOW <= self.zero_point <= HIGH):
            raise UsageError(f"scale {self.scale}, zero point {self.zero_point}: not a grid of int8 values")


def grid_of(low: float, high: float, *, symmetric: bool = False) -> Grid:
    """Return the grid that covers values from `low` to `high` and holds zero exactly.

    Args:
        low: the least value.
        high: the greatest.
        symmetric: keep the zero point at 0 where there are negative values, so that only the scale must be learned.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == 0.0:
        return Grid(scale=max(high / (HIGH - LOW), SMALLEST_SCALE), zero_point=LOW)
    if symmetric:
        return Grid(scale=max(max(-low, high) / HIGH, SMALLEST_SCALE), zero_point=0)
    scale = max((high - low) / (HIGH - LOW), SMALLEST_SCALE)
    return Grid(scale=scale, zero_point=min(HIGH, max(LOW, round(LOW - low / scale))))


def weight_scales(weight: npt.NDArray[np.float32], axis: int | None) -> npt.NDArray[np.float32]:
    """Return max|w| / 127 for each channel along `axis`, float32 (C,), or of the whole tensor, float32 ()."""
    magnitude = np.abs(weight)
    others = None if axis is None else tuple(place for place in range(weight.ndim) if place != axis)
    scales = magnitude.max(axis=others).astype(np.float32) * np.float32(1 / HIGH)
    found: npt.NDArray[np.float32] = np.maximum(scales, np.float32(SMALLEST_SCALE))
    return found


def rounded(weight: npt.NDArray[np.float32], scales: npt.NDArray[np.float32], axis: int | None) -> npt.NDArray[np.int8]:
    """Return the nearest int8 values (ties to even, as QuantizeLinear rounds) with zero point 0, of weight's shape."""
    column = scales if axis is None else scales.reshape([-1 if place == axis else 1 for place in range(weight.ndim)])
    steps: npt.NDArray[np.int8] = np.clip(np.rint(weight / column), LOW, HIGH).astype(np.int8)
    return steps
