"""The grids of int8 values onto which tensors are rounded: value = scale * (q - zero point), q from -128 to 127."""

import math
from dataclasses import dataclass

import numpy as np

from accord.bundle.rounding import HIGHEST, LEAST_SCALE, Floats, weight_scales
from accord.errors import UsageError

LOW, HIGH = -HIGHEST - 1, HIGHEST
SMALLEST_CHANNEL = 1 / 16
"""A channel whose weights are smaller than this part of the tensor's largest has the grid of one with such weights."""
SMALLEST_TENSOR = 0.5
"""A tensor of zeros has the grid of one whose largest weight is this."""


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
        return Grid(scale=max(high / (HIGH - LOW), LEAST_SCALE), zero_point=LOW)
    if symmetric:
        return Grid(scale=max(max(-low, high) / HIGH, LEAST_SCALE), zero_point=0)
    scale = max((high - low) / (HIGH - LOW), LEAST_SCALE)
    return Grid(scale=scale, zero_point=min(HIGH, max(LOW, round(LOW - low / scale))))


def grid_scales(weight: Floats, axis: int | None, headroom: float) -> Floats:
    """Return the scales of a grid on which weights are trained: max|w| * headroom / 127, float32 (C,) or ().

    They stay as they are, so a channel that begins near zero gets steps that it can grow with.

    Args:
        weight: as it begins.
        axis: of its channels; None for one scale.
        headroom: how many times as far as the largest weight the grid goes, 1 or more.
    """
    scales = weight_scales(weight, axis)
    peak = float(np.abs(weight).max()) or SMALLEST_TENSOR
    found: Floats = np.maximum(scales, np.float32(peak * SMALLEST_CHANNEL / HIGHEST)) * np.float32(headroom)
    return found
