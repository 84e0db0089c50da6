"""Vectors modulo 2^m, in uint32: masks from keystreams, added and taken away. Sums wrap at 2^32, which 2^m divides."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from accord.prg import NONCE_SIZE, keystream, keystream_pieces

Ring = npt.NDArray[np.uint32]
Spread: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or that of a pool of workers."""
STRETCH = 1 << 18
"""Coordinates that one worker sums at a time: a whole number of keystream blocks."""
_NONCE = bytes(NONCE_SIZE)


def mask(seed: bytes, length: int, bits: int) -> npt.NDArray[np.unsignedinteger]:
    """Return the mask of a 32-byte seed: `length` values, uniform modulo 2^`bits`.

    A seed expands once, so its nonce is zero. Up to 16 bits take 2 bytes of keystream each, more take 4; the high bits
    are not cleared, since only the low ones count.
    """
    dtype = _dtype(bits)
    values: npt.NDArray[np.unsignedinteger] = np.frombuffer(keystream(seed, _NONCE, length * dtype.itemsize), dtype)
    return values


def add_masks(vector: Ring, seeds: Iterable[tuple[bytes, bool]], bits: int, spread: Spread = map) -> None:
    """Add masks to `vector`, uint32 of shape (n,), in place.

    They are summed for one stretch of coordinates after another, each mask in pieces that stay in the processor's
    cache: beside `vector` there is a stretch for each worker in memory, whatever the number of seeds.

    Args:
        vector: what they are added to.
        seeds: 32 bytes each, with whether its mask is taken away.
        bits: m.
        spread: applies a function to each of some values, in order, as `map` does; a pool's does so with many workers.
    """
    known = tuple(seeds)
    stretches = [(start, min(STRETCH, vector.size - start)) for start in range(0, vector.size, STRETCH)]
    for (start, size), total in zip(stretches, spread(partial(_summed, known, bits), stretches), strict=True):
        part = vector[start : start + size]
        np.add(part, total, out=part, dtype=np.uint32, casting="unsafe")


def _summed(
    seeds: Sequence[tuple[bytes, bool]], bits: int, stretch: tuple[int, int]
) -> npt.NDArray[np.unsignedinteger]:
    """Return the sum of masks over the coordinates from stretch[0] on, stretch[1] of them."""
    dtype, (first, size) = _dtype(bits), stretch
    total = np.zeros(size, dtype)
    signs = [np.subtract if negative else np.add for _, negative in seeds]
    keys = [seed for seed, _ in seeds]
    for at, start, piece in keystream_pieces(keys, _NONCE, size * dtype.itemsize, first * dtype.itemsize):
        values = np.frombuffer(piece, dtype)
        part = total[start // dtype.itemsize :][: values.size]
        signs[at](part, values, part)
    return total


def _dtype(bits: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u2") if bits <= 16 else np.dtype("<u4")


def reduced(vector: Ring, bits: int) -> Ring:
    """Return `vector` modulo 2^`bits`."""
    return vector if bits == 32 else vector & np.uint32((1 << bits) - 1)
