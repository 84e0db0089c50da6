"""Some blocks of the flat vector, all devices the same ones: the support of `block-score`, a bitmap of blocks."""

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError
from accord.tensors import Layout, Vector

_LARGEST = float(np.finfo(np.float32).max)


def count(size: int, block: int) -> int:
    """Return how many blocks a vector is cut in; the last one may be shorter."""
    return -(-size // block)


def chosen(share: int, blocks: int) -> int:
    """Return how many of them a share in millionths is: one at least."""
    return max(1, blocks * share // 1_000_000)


def encode(mask: npt.NDArray[np.bool_]) -> bytes:
    """Return the support's bytes: bit i of the bitmap is block i, least significant bit first."""
    return np.packbits(mask, bitorder="little").tobytes()


class Blocks:
    """The blocks that a bitmap names.

    Args:
        layout: the model's trainable tensors.
        block: parameters in a block.
        share: of all blocks, in millionths.
        data: the bitmap.

    Raises:
        CodecError: it has another size, bits behind the last block, or another number of blocks than the share.
    """

    def __init__(self, layout: Layout, block: int, share: int, data: bytes) -> None:
        blocks = count(layout.size, block)
        if len(data) != -(-blocks // 8):
            raise CodecError(f"a support of {blocks} blocks takes {-(-blocks // 8)} bytes, not {len(data)}")
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        named = int(np.count_nonzero(bits[:blocks]))
        if bits[blocks:].any() or named != chosen(share, blocks):
            raise CodecError(f"a support of {chosen(share, blocks)} blocks is expected, not one of {named}")
        self._size, self._block, self._blocks = layout.size, block, blocks
        self._kept = np.flatnonzero(np.repeat(bits[:blocks].view(bool), block)[: layout.size])
        ends = np.searchsorted(self._kept, np.cumsum(layout.sizes))
        self.spans: tuple[int, ...] = tuple(int(n) for n in np.diff(ends, prepend=0))

    def take(self, change: Vector) -> Vector:
        """Return the parameters in the blocks."""
        return change[self._kept]

    def put(self, values: Vector) -> Vector:
        """Return them in their places, and zero elsewhere."""
        change = np.zeros(self._size, np.float32)
        change[self._kept] = values
        return change

    def scores(self, change: Vector) -> Vector:
        """Return the norm of every block, float32 of shape (blocks,)."""
        starts = np.arange(0, self._size, self._block)
        norms = np.sqrt(np.add.reduceat(np.square(change, dtype=np.float64), starts))
        return np.minimum(norms, _LARGEST).astype(np.float32)
