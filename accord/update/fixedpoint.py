"""A weighted change of the model as signed fixed-point integers with stochastic rounding, and back from the sum.

Each value is w·x with w = q / q_max, so the mean is sum(q·x) / sum(q): the weights ride inside. See protocol section 8.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError, LocalProtocolError
from accord.plan import Fixed
from accord.prg import NONCE_SIZE, keystream
from accord.tensors import Vector
from accord.values import dataclass

WEIGHT_BITS = 16
SATURATION_BITS = 32
NO_NUMBER = "the update holds NaN or infinity: lower the learning rate or look at the data"
_NONCE = bytes(NONCE_SIZE)


def weight(rows: int, largest: int) -> tuple[int, int]:
    """Return (q, q_max) for a device with `rows` rows: exact while `largest` fits 16 bits, else in equal steps.

    A device with rows never weighs nothing.
    """
    step = -(-largest // (2**WEIGHT_BITS - 1))
    top = -(-largest // step)
    return (0 if rows == 0 else max(1, min(top, round(rows / step)))), top


def limits(spans: Sequence[int], fixed: Fixed) -> Vector:
    """Return for each coordinate the units per 1.0: L / 2^e, float32 of shape (K,).

    Args:
        spans: how many of them each tensor has.
        fixed: the plan's.

    Raises:
        CodecError: the plan has another number of scales than the layout has tensors.
    """
    if len(fixed.exponents) != len(spans):
        raise CodecError(f"{len(fixed.exponents)} scales for {len(spans)} tensors")
    each = top_value(fixed) / np.ldexp(1.0, np.array(fixed.exponents, np.int64))
    return np.repeat(each.astype(np.float32), spans)


def top_value(fixed: Fixed) -> int:
    """Return L = 2^(b-1) - 1, the largest magnitude of one value."""
    return int(2 ** (fixed.value_bits - 1) - 1)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One device's integers: `values` uint32 of shape (K,), two's complement modulo 2^32, and how many were cut.

    `rounded` is what rounding took away, in units, where it was asked for; what was cut is not in it.
    """

    values: npt.NDArray[np.uint32]
    saturated: int
    rounded: Vector | None = None


def weighted(delta: Vector, share: float, units: Vector) -> Vector:
    """Return share·delta in units, float32.

    Raises:
        LocalProtocolError: the change holds NaN or infinity.
    """
    with np.errstate(over="ignore"):  # what does not fit is refused by name
        scaled: Vector = delta * (units * np.float32(share))
    if not np.isfinite(scaled).all():
        raise LocalProtocolError(NO_NUMBER)
    return scaled


def encode(delta: Vector, share: float, units: Vector, top: int, seed: bytes, *, remember: bool = False) -> Encoded:
    """Round share·delta to integers, up or down at random so that the expectation is exact.

    Args:
        delta: the change, float32 of shape (K,).
        share: q / q_max, from 0 to 1.
        units: what `limits` returned.
        top: what `top_value` returned.
        seed: 32 bytes; its keystream decides the rounding.
        remember: whether what rounding takes away is returned.

    Raises:
        LocalProtocolError: the change holds NaN or infinity.
    """
    scaled = weighted(delta, share, units)
    saturated = int(np.count_nonzero(np.abs(scaled) > top))
    exact = np.clip(scaled, -top, top) if remember else None
    drawn = np.frombuffer(keystream(seed, _NONCE, 2 * delta.size), "<u2")
    scaled += (drawn.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-16)
    np.floor(scaled, out=scaled)
    np.clip(scaled, -top, top, out=scaled)
    rounded = None if exact is None else exact - scaled
    return Encoded(values=scaled.astype(np.int32).view(np.uint32), saturated=saturated, rounded=rounded)


def signed(sums: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.int64]:
    """Read sums modulo 2^bits as signed integers, int64."""
    values = sums.astype(np.int64)
    values[values >= 1 << (bits - 1)] -= 1 << bits
    return values


def mean(sums: npt.NDArray[np.int64], total: int, top_weight: int, units: Vector) -> Vector:
    """Return the weighted mean change, float32 of shape (K,), from summed values and the summed weights q.

    Raises:
        CodecError: the weights sum to zero.
    """
    if total <= 0:
        raise CodecError("the weights sum to zero: no device had rows to train on")
    return (sums.astype(np.float64) / units.astype(np.float64) * (top_weight / total)).astype(np.float32)
