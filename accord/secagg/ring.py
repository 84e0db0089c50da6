"""Vectors modulo 2^m, in uint32: masks from keystreams, added and taken away. Sums wrap at 2^32, which 2^m divides."""

import numpy as np
import numpy.typing as npt

from accord.prg import NONCE_SIZE, keystream

Ring = npt.NDArray[np.uint32]
_NONCE = bytes(NONCE_SIZE)


def mask(seed: bytes, length: int, bits: int) -> npt.NDArray[np.unsignedinteger]:
    """Return the mask of a 32-byte seed: `length` values, uniform modulo 2^`bits`.

    A seed expands once, so its nonce is zero. Up to 16 bits take 2 bytes of keystream each, more take 4; the high bits
    are not cleared, since only the low ones count.
    """
    dtype = np.dtype("<u2") if bits <= 16 else np.dtype("<u4")
    values: npt.NDArray[np.unsignedinteger] = np.frombuffer(keystream(seed, _NONCE, length * dtype.itemsize), dtype)
    return values


def add_mask(vector: Ring, seed: bytes, bits: int, *, negative: bool = False) -> None:
    """Add the mask of `seed` to `vector`, uint32 of shape (n,), in place; take it away if `negative`."""
    values = mask(seed, vector.size, bits)
    if negative:
        np.subtract(vector, values, out=vector, dtype=np.uint32, casting="unsafe")
    else:
        np.add(vector, values, out=vector, dtype=np.uint32, casting="unsafe")


def reduced(vector: Ring, bits: int) -> Ring:
    """Return `vector` modulo 2^`bits`."""
    return vector if bits == 32 else vector & np.uint32((1 << bits) - 1)
