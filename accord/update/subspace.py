"""Matrices in a basis of a few vectors, on one side at a time: the support of `low-rank`.

A matrix M, tensors of more dimensions taken as rows of their first one, is sent as M·B or as B^T·M, and what was sent
stands for M·B·B^T or B·B^T·M. B comes from the sum of the round before, so that two rounds are one step of a power
iteration (PowerSGD, Vogels et al. 2019), with the sides taken in turns so that each round needs one message. Tensors
that a basis would not make smaller are sent whole.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from accord.errors import CodecError
from accord.tensors import Layout, Vector
from accord.update import basis as bases
from accord.update.basis import Basis


def matrix(shape: tuple[int, ...], rank: int) -> tuple[int, int] | None:
    """Return the rows and columns of a tensor that a basis of `rank` makes smaller on either side, else None."""
    rows, columns = shape[0] if shape else 1, math.prod(shape[1:])
    return (rows, columns) if rank * max(rows, columns) * 2 <= rows * columns else None


def fitting(layout: Layout, rank: int, largest: int) -> int:
    """Return the highest rank up to `rank` whose bases take at most `largest` bytes on either side; 0 if none does."""
    for lower in range(rank, 0, -1):
        found = [sides for _, shape in layout.tensors if (sides := matrix(shape, lower)) is not None]
        if sum(bases.size(max(sides), lower) for sides in found) <= largest:
            return lower
    return 0


def encode(found: Sequence[Basis]) -> bytes:
    """Return the support's bytes: the basis of each matrix, one after the other."""
    return b"".join(one.encode() for one in found)


class Subspace:
    """The bases that a support holds.

    Args:
        layout: the model's trainable tensors.
        rank: vectors in a basis.
        data: the support's bytes.

    Raises:
        CodecError: another size, or bytes of no basis.
    """

    def __init__(self, layout: Layout, rank: int, data: bytes) -> None:
        self._layout, self.rank, self.support = layout, rank, data
        self.bases: list[Basis | None] = []
        """Of each tensor; None for those that are sent whole."""
        spans, at = [], 0
        for (_, shape), size in zip(layout.tensors, layout.sizes, strict=True):
            found = matrix(shape, rank)
            if found is None:
                self.bases.append(None)
                spans.append(size)
                continue
            side = bases.side_of(data, at)
            end = at + bases.size(found[1 - side], rank)
            if end > len(data):
                raise CodecError("the support ends within a basis")
            self.bases.append(bases.decode(data[at:end], rank))
            spans.append(found[side] * rank)
            at = end
        if at != len(data):
            raise CodecError(f"the support has {len(data) - at} bytes too many")
        self.spans: tuple[int, ...] = tuple(spans)

    def take(self, change: Vector) -> Vector:
        """Return each matrix in its basis."""
        parts = []
        for tensor, held in self._tensors(change, self._layout.sizes):
            if held is None:
                parts.append(tensor)
                continue
            vectors = held.vectors
            seen = tensor.reshape(len(vectors), -1) if held.side else tensor.reshape(-1, len(vectors))
            parts.append(vectors.T @ seen if held.side else seen @ vectors)
        return np.concatenate([part.ravel() for part in parts])

    def put(self, values: Vector) -> Vector:
        """Return the matrices that the coordinates stand for."""
        parts = []
        for part, held in self._tensors(values, self.spans):
            if held is None:
                parts.append(part)
                continue
            vectors, rank = held.vectors, held.exponents.size
            parts.append(vectors @ part.reshape(rank, -1) if held.side else part.reshape(-1, rank) @ vectors.T)
        return np.concatenate([part.ravel() for part in parts])

    def scores(self, change: Vector) -> Vector:
        """Return nothing: the sum itself says what the next basis is."""
        return change[:0]

    def following(self, sums: Vector) -> list[Basis]:
        """Return the bases of the next round: for each matrix one of what was sent of it, and its other side.

        Args:
            sums: the merged coordinates of this round, float32 of shape (K,).
        """
        found = []
        for part, held in self._tensors(sums, self.spans):
            if held is not None:
                rank = held.exponents.size
                sent = part.reshape(rank, -1).T if held.side else part.reshape(-1, rank)
                found.append(bases.rounded(1 - held.side, bases.orthonormal(sent.astype(np.float64))))
        return found

    def _tensors(self, vector: Vector, sizes: Sequence[int]) -> Iterator[tuple[Vector, Basis | None]]:
        ends = np.cumsum(sizes)
        return zip(np.split(vector, ends[:-1]), self.bases, strict=True)
