"""Matrices in a basis of a few vectors, on one side at a time: the support of `low-rank`.

A matrix M, tensors of more dimensions taken as rows of their first one, is sent as M·B or as B^T·M, and what was sent
stands for M·B·B^T or B·B^T·M. B comes from the sum of the round before, so that two rounds are one step of a power
iteration (PowerSGD, Vogels et al. 2019), with the sides taken in turns so that each round needs one message. Tensors
that a basis would not make smaller are sent whole.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError
from accord.tensors import Layout, Vector

Basis = npt.NDArray[np.float32]
_NUMBER = np.dtype("<f2")
"""A basis is public and need not be exact: what it misses stays in the residual."""
_NOTHING = 1e-6
"""The length of a column, where the largest number is 1, below which rounding made it."""
_LARGEST = 2.0
"""No entry of a column of length 1 is larger than 1, whatever rounding did to it."""


def matrix(shape: tuple[int, ...], rank: int) -> tuple[int, int] | None:
    """Return the rows and columns of a tensor that a basis of `rank` makes smaller on either side, else None."""
    rows, columns = shape[0] if shape else 1, math.prod(shape[1:])
    return (rows, columns) if rank * max(rows, columns) * 2 <= rows * columns else None


def fitting(layout: Layout, rank: int, largest: int) -> int:
    """Return the highest rank up to `rank` whose bases take at most `largest` bytes on either side; 0 if none does."""
    for lower in range(rank, 0, -1):
        found = [sides for _, shape in layout.tensors if (sides := matrix(shape, lower)) is not None]
        if sum(1 + lower * max(sides) * _NUMBER.itemsize for sides in found) <= largest:
            return lower
    return 0


def encode(bases: Sequence[tuple[int, Basis]]) -> bytes:
    """Return the support's bytes: for each matrix its side in one byte (0: M·B, 1: B^T·M), and B as binary16."""
    return b"".join(bytes([side]) + basis.astype(_NUMBER).tobytes() for side, basis in bases)


class Subspace:
    """The bases that a support holds.

    Args:
        layout: the model's trainable tensors.
        rank: vectors in a basis.
        data: the support's bytes.

    Raises:
        CodecError: another size, an unknown side, or a number that no basis has.
    """

    def __init__(self, layout: Layout, rank: int, data: bytes) -> None:
        self._layout = layout
        self.bases: list[tuple[int, Basis] | None] = []
        spans, at = [], 0
        for (_, shape), size in zip(layout.tensors, layout.sizes, strict=True):
            found = matrix(shape, rank)
            if found is None:
                self.bases.append(None)
                spans.append(size)
                continue
            side = data[at] if at < len(data) else 2
            if side > 1:
                raise CodecError("a basis is of side 0 or 1")
            high = found[1 - side] * rank
            raw = data[at + 1 : at + 1 + high * _NUMBER.itemsize]
            if len(raw) != high * _NUMBER.itemsize:
                raise CodecError("the support ends within a basis")
            basis = np.frombuffer(raw, _NUMBER).astype(np.float32).reshape(-1, rank)
            if not (np.abs(basis) <= _LARGEST).all():
                raise CodecError("a basis holds a number that is none, or larger than 2")
            self.bases.append((side, basis))
            spans.append(found[side] * rank)
            at += 1 + len(raw)
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
            side, basis = held
            parts.append((basis.T @ tensor.reshape(len(basis), -1)).ravel() if side else _rows(tensor, basis) @ basis)
        return np.concatenate([part.ravel() for part in parts])

    def put(self, values: Vector) -> Vector:
        """Return the matrices that the coordinates stand for."""
        parts = []
        for part, held in self._tensors(values, self.spans):
            if held is None:
                parts.append(part)
                continue
            side, basis = held
            rank = basis.shape[1]
            parts.append((basis @ part.reshape(rank, -1) if side else part.reshape(-1, rank) @ basis.T).ravel())
        return np.concatenate(parts)

    def scores(self, change: Vector) -> Vector:
        """Return nothing: the sum itself says what the next basis is."""
        return change[:0]

    def following(self, sums: Vector) -> list[tuple[int, Basis]]:
        """Return the bases of the next round: for each matrix one of what was sent of it, and its other side.

        Args:
            sums: the merged coordinates of this round, float32 of shape (K,).
        """
        found = []
        for part, held in self._tensors(sums, self.spans):
            if held is not None:
                side, basis = held
                rank = basis.shape[1]
                sent = part.reshape(rank, -1).T if side else part.reshape(-1, rank)
                found.append((1 - side, orthonormal(sent.astype(np.float64))))
        return found

    def _tensors(self, vector: Vector, sizes: Sequence[int]) -> Iterator[tuple[Vector, tuple[int, Basis] | None]]:
        ends = np.cumsum(sizes)
        return zip(np.split(vector, ends[:-1]), self.bases, strict=True)


def _rows(tensor: Vector, basis: Basis) -> Vector:
    return tensor.reshape(-1, len(basis))


def orthonormal(columns: npt.NDArray[np.float64]) -> Basis:
    """Return columns, float64 (n, r), made orthonormal one after the other, float32.

    Where one has nothing new to say, the first unit vector that has takes its place.
    """
    out = np.zeros_like(columns)
    scale = float(np.abs(columns).max(initial=0.0)) or 1.0
    for at in range(columns.shape[1]):
        for column in (columns[:, at] / scale, *np.eye(len(columns))[: at + 1]):
            new = column
            for _ in range(2):  # once is not enough where little is left
                new = new - out[:, :at] @ (out[:, :at].T @ new)
            length = float(np.linalg.norm(new))
            if length > _NOTHING:
                out[:, at] = new / length
                break
    return out.astype(np.float32)
