"""Vectors modulo 2^m, in uint32: masks from keystreams, added and taken away. Sums wrap at 2^32, which 2^m divides."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from accord.prg import NONCE_SIZE, keystream, keystream_pieces

Ring = npt.NDArray[np.uint32]
_NONCE = bytes(NONCE_SIZE)


def mask(seed: bytes, length: int, bits: int) -> npt.NDArray[np.unsignedinteger]:
    """Return the mask of a 32-byte seed: `length` values, uniform modulo 2^`bits`.

    A seed expands once, so its nonce is zero. Up to 16 bits take 2 bytes of keystream each, more take 4; the high bits
    are not cleared, since only the low ones count.
    """
    dtype = _dtype(bits)
    values: npt.NDArray[np.unsignedinteger] = np.frombuffer(keystream(seed, _NONCE, length * dtype.itemsize), dtype)
    return values


def add_masks(vector: Ring, seeds: Iterable[tuple[bytes, bool]], bits: int) -> None:
    """Add masks to `vector`, uint32 of shape (n,), in place.

    Each is expanded in pieces that stay in the processor's cache, into one buffer: beside `vector` there is one more of
    its length in memory, whatever the number of seeds.

    Args:
        vector: what they are added to.
        seeds: 32 bytes each, with whether its mask is taken away.
        bits: m.
    """
    dtype = _dtype(bits)
    total = np.zeros(vector.size, dtype)
    known = list(seeds)
    signs = [np.subtract if negative else np.add for _, negative in known]
    for at, start, piece in keystream_pieces([seed for seed, _ in known], _NONCE, vector.size * dtype.itemsize):
        values = np.frombuffer(piece, dtype)
        part = total[start // dtype.itemsize :][: values.size]
        signs[at](part, values, part)
    np.add(vector, total, out=vector, dtype=np.uint32, casting="unsafe")


def _dtype(bits: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u2") if bits <= 16 else np.dtype("<u4")


def reduced(vector: Ring, bits: int) -> Ring:
    """Return `vector` modulo 2^`bits`."""
    return vector if bits == 32 else vector & np.uint32((1 << bits) - 1)
