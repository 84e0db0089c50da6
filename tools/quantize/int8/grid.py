"""The grid of int8 values onto which one tensor is rounded: value = scale * (q - zero point), q from -128 to 127."""

import math
from dataclasses import dataclass

from accord.bundle.rounding import HIGHEST, LEAST_SCALE
from accord.errors import UsageError

LOW, HIGH = -HIGHEST - 1, HIGHEST


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
