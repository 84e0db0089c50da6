"""Non-negative integers below 2^28 as LEB128, each in its shortest form: seven bits a byte, the lowest first."""

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError

LONGEST = 4
"""Bytes of one number."""
Numbers = npt.NDArray[np.int64]


def encode(numbers: Numbers) -> bytes:
    """Return the bytes of numbers from 0 to 2^28 - 1, int64 of shape (n,)."""
    parts = (numbers[:, None] >> (7 * np.arange(LONGEST))) & 0x7F
    used = np.ones(parts.shape, np.bool_)
    used[:, 1:] = numbers[:, None] >= 1 << (7 * np.arange(1, LONGEST))
    parts[:, :-1] |= np.where(used[:, 1:], 0x80, 0)
    return parts[used].astype(np.uint8).tobytes()


def decode(data: bytes) -> Numbers:
    """Return the numbers, int64 of shape (n,).

    Raises:
        CodecError: the last number has no end, or one is longer than 28 bits or than it needs.
    """
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if raw.size and (not ends.size or ends[-1] != raw.size - 1):
        raise CodecError("the last number has no end")
    sizes = np.diff(ends, prepend=-1)
    if (sizes > LONGEST).any():
        raise CodecError("a number of more than 28 bits")
    if (raw[ends[sizes > 1]] == 0).any():
        raise CodecError("a number in a longer form than it needs")
    starts, numbers = ends - sizes + 1, np.zeros(ends.size, np.int64)
    for at in range(int(sizes.max(initial=0))):
        longer = sizes > at
        numbers[longer] |= (raw[starts[longer] + at].astype(np.int64) & 0x7F) << (7 * at)
    return numbers
