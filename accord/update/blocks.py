"""Which blocks of 64 parameters changed, as a bitmap or as gaps, whichever is shorter. Holds no values."""

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError
from accord.update import varints

BLOCK = 64
"""Parameters in a block; the last block of a vector may be shorter."""
BITMAP, GAPS = 0, 1
"""The first byte of an encoding: a bitmap, least significant bit first, or the distances as LEB128."""
Blocks = npt.NDArray[np.bool_]


def count(parameters: int) -> int:
    """Return how many blocks so many parameters make."""
    return -(-parameters // BLOCK)


def touched(values: npt.NDArray[np.generic]) -> Blocks:
    """Return for each block of a vector of shape (P,) whether a value in it is not zero."""
    padded = np.zeros(count(values.size) * BLOCK, np.bool_)
    padded[: values.size] = values != 0
    return np.asarray(padded.reshape(-1, BLOCK).any(axis=1))


def members(blocks: Blocks, start: int, stop: int) -> Blocks:
    """Return for each of the parameters from `start` to before `stop` whether its block is one of them."""
    first = start // BLOCK
    spread = np.repeat(blocks[first : count(stop)], BLOCK)
    return spread[start - first * BLOCK : stop - first * BLOCK]


def encode(blocks: Blocks) -> bytes:
    """Return the shorter of the two forms."""
    bitmap = bytes([BITMAP]) + np.packbits(blocks, bitorder="little").tobytes()
    places = np.flatnonzero(blocks)
    if places.size >= len(bitmap):  # a gap takes a byte at least
        return bitmap
    gaps = bytes([GAPS]) + varints.encode(np.diff(places, prepend=-1) - 1)
    return gaps if len(gaps) < len(bitmap) else bitmap


def decode(data: bytes, parameters: int) -> Blocks:
    """Return for each block of so many parameters whether it is listed.

    Raises:
        CodecError: another size, a place behind the last block, or an encoding that is not the short one.
    """
    blocks = np.zeros(count(parameters), np.bool_)
    form, body = data[:1], data[1:]
    if form == bytes([BITMAP]):
        if len(body) != -(-blocks.size // 8):
            raise CodecError(f"a bitmap of {blocks.size} blocks has {-(-blocks.size // 8)} bytes, not {len(body)}")
        ones = np.unpackbits(np.frombuffer(body, np.uint8), bitorder="little").astype(np.bool_)
        blocks[:] = ones[: blocks.size]
        if ones[blocks.size :].any():
            raise CodecError("a bit behind the last block is set")
    elif form == bytes([GAPS]):
        _follow(body, blocks)
    else:
        raise CodecError("blocks are listed neither by a bitmap nor by gaps")
    return blocks


def _follow(gaps: bytes, blocks: Blocks) -> None:
    """Mark the blocks that gaps lead to; the gap of a neighbour is 0."""
    places = np.cumsum(varints.decode(gaps) + 1) - 1
    if places.size and places[-1] >= blocks.size:
        raise CodecError(f"block {places[-1]} of {blocks.size}")
    blocks[places] = True
