"""The one formula by which trained weights and biases become int8 and int32: a tool and an export share it.

Scales are max|w| / 127, and ties go to even, as QuantizeLinear rounds in the training graph.
"""

import numpy as np
import numpy.typing as npt

HIGHEST = 127
LEAST_SCALE = 2.0**-40
"""A channel of zeros gets this scale, so that nothing is divided by zero."""
_LARGEST_BIAS = 2**31 - 256

Floats = npt.NDArray[np.float32]


def weight_scales(weight: Floats, axis: int | None) -> Floats:
    """Return max|w| / 127 for each channel along `axis`, float32 (C,), or of the whole tensor, float32 ()."""
    others = None if axis is None else tuple(place for place in range(weight.ndim) if place != axis)
    scales = np.abs(weight).max(axis=others).astype(np.float32) * np.float32(1 / HIGHEST)
    found: Floats = np.maximum(scales, np.float32(LEAST_SCALE))
    return found


def weight_steps(weight: Floats, scales: Floats, axis: int | None) -> npt.NDArray[np.int8]:
    """Return the nearest int8 values from -127 to 127 with zero point 0, of the weight's shape."""
    column = scales if axis is None else scales.reshape([-1 if place == axis else 1 for place in range(weight.ndim)])
    steps: npt.NDArray[np.int8] = np.clip(np.rint(weight / column), -HIGHEST, HIGHEST).astype(np.int8)
    return steps


def bias_steps(bias: Floats, weight: Floats, rows: Floats) -> tuple[npt.NDArray[np.int32], Floats]:
    """Return a bias (C,) in int32 steps, and their scales: those of its weight, (C,) or (), times that of its rows."""
    scales = np.broadcast_to(weight * rows, bias.shape).astype(np.float32)
    steps = np.clip(np.rint(bias.astype(np.float64) / scales), -_LARGEST_BIAS, _LARGEST_BIAS)
    return steps.astype(np.int32), scales
