"""What a device's updates have left out so far, its residual: added to the next change, so that it is only late.

It holds what the support and rounding left out, never what the clip cut. It is as private as the rows that it comes
from. See docs/protocol.md, section 8.9.
"""

import math

import numpy as np

from accord.errors import CodecError
from accord.tensors import Vector

LONGEST = 2.0**64
"""Far beyond any change that trains a model: a longer residual is of a training that has gone astray."""
_HALF = np.dtype("<f2")
_HEAD = 2


def capped(left: Vector, change: Vector, times: int) -> Vector:
    """Return `left` made short enough: a norm of at most `times` that of the round's change.

    A device that comes seldom, or whose examples changed, must not say for ever what it saw once. One that is longer
    than `LONGEST` all the same is dropped: added to the next change it might be too large for a float.
    """
    largest = times * float(np.linalg.norm(change.astype(np.float64)))
    length = float(np.linalg.norm(left.astype(np.float64)))
    if not (math.isfinite(length) and min(length, largest) <= LONGEST):
        return np.zeros_like(left)
    if length <= largest:
        return left
    return (left * np.float32(largest / length)).astype(np.float32)


def encode(residual: Vector) -> bytes:
    """Return the bytes that are kept: a power of two that bounds all values, then each divided by it as binary16.

    Each value comes back within a 2048th of itself, or within 2^-25 of the largest one.
    """
    largest = float(np.abs(residual).max(initial=0.0))
    exponent = int(np.frexp(largest)[1]) if largest else 0
    scaled = np.ldexp(residual.astype(np.float64), -exponent)
    return exponent.to_bytes(_HEAD, "little", signed=True) + scaled.astype(_HALF).tobytes()


def decode(data: bytes, size: int) -> Vector:
    """Return the residual, float32 of shape (size,).

    Raises:
        CodecError: another size, or numbers that `encode` does not write.
    """
    if len(data) != _HEAD + _HALF.itemsize * size:
        raise CodecError(f"a residual of {size} values has another size than {len(data)} bytes")
    exponent = int.from_bytes(data[:_HEAD], "little", signed=True)
    scaled = np.frombuffer(data[_HEAD:], _HALF).astype(np.float32)
    if not -150 <= exponent <= 128 or not (np.abs(scaled) <= 1).all():
        raise CodecError("a residual holds numbers that were not written like this")
    return np.ldexp(scaled, exponent).astype(np.float32)
