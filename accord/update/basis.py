"""A basis of a few vectors in whole numbers: what a support holds of each matrix, exact in float32 on every machine.

A vector is int8 numbers times a power of two. What that misses of length 1 and of right angles is a hundredth, and
stays in the residual with all else that an update leaves out; what it gives is products that are whole numbers, too.
"""

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError
from accord.tensors import Vector
from accord.values import dataclass

Columns = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int8]
LARGEST_EXPONENT = -6
"""No entry of a vector of length 1 is above 1; with this one no number is above 2, whatever rounding did to it."""
SMALLEST_EXPONENT = -32
"""The largest entry of a vector of length 1 is not below 2^-14, as no tensor has more than 2^28 parameters."""
_TOP = 127
_STRETCH = 1.5
"""What is left of x, x - x * B * B^T, grows without end once B * B^T stretches something to twice its length."""
_NOTHING = 1e-6
"""The length of a column, where the largest number is 1, below which rounding made it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """Vectors of one side of a matrix M: `side` 0 is sent as M*B, 1 as B^T*M.

    Entry (i, k) is numbers[i, k] * 2^exponents[k]; `numbers` is int8 of shape (n, rank), `exponents` int8 (rank,).

    Raises:
        CodecError: an unknown side, an exponent out of range, or a vector of zeros.
    """

    side: int
    numbers: Numbers
    exponents: Numbers

    def __post_init__(self) -> None:
        if self.side not in (0, 1):
            raise CodecError("a basis is of side 0 or 1")
        if (self.exponents < SMALLEST_EXPONENT).any() or (self.exponents > LARGEST_EXPONENT).any():
            raise CodecError(f"an exponent of a basis is not from {SMALLEST_EXPONENT} to {LARGEST_EXPONENT}")
        if not self.numbers.any(axis=0).all():
            raise CodecError("a vector of a basis is zero")

    @property
    def vectors(self) -> Vector:
        """The vectors as columns, float32 of shape (n, rank)."""
        return np.ldexp(self.numbers.astype(np.float32), self.exponents.astype(np.int32)).astype(np.float32)

    def encode(self) -> bytes:
        """Return the side, the exponents, and the numbers row after row, a byte each."""
        return bytes([self.side]) + self.exponents.tobytes() + self.numbers.tobytes()


def size(rows: int, rank: int) -> int:
    """Return the bytes of a basis of `rank` vectors of so many entries."""
    return 1 + rank + rows * rank


def side_of(data: bytes, at: int) -> int:
    """Return the side of the basis that begins at `at`, which says how many entries its vectors have.

    Raises:
        CodecError: the data ends there, or the side is unknown.
    """
    if at >= len(data) or data[at] > 1:
        raise CodecError("a basis is of side 0 or 1")
    return data[at]


def decode(data: bytes, rank: int) -> Basis:
    """Return the basis whose bytes these are.

    Raises:
        CodecError: they are of no basis of `rank` vectors.
    """
    if len(data) < 1 + rank or (len(data) - 1 - rank) % rank:
        raise CodecError("the support ends within a basis")
    numbers = np.frombuffer(data, np.int8)
    return Basis(side=data[0], exponents=numbers[1 : 1 + rank], numbers=numbers[1 + rank :].reshape(-1, rank))


def rounded(side: int, columns: Columns) -> Basis:
    """Return columns of length 1, float64 of shape (n, rank), in whole numbers: each by the finest power of two.

    Where one entry is far larger than all others, these may be rounded up together, and the columns become longer. They
    are halved then, so that B * B^T stretches nothing by more than `_STRETCH`.
    """
    largest = np.abs(columns).max(axis=0)
    mantissas, exponents = np.frexp(largest / _TOP)
    exponents = np.clip(exponents - (mantissas == 0.5), SMALLEST_EXPONENT, LARGEST_EXPONENT)
    numbers = np.clip(np.rint(np.ldexp(columns, -exponents)), -_TOP, _TOP)
    vectors = np.ldexp(numbers, exponents)
    stretched = float(np.linalg.eigvalsh(vectors.T @ vectors)[-1])
    while stretched > _STRETCH:
        exponents, stretched = exponents - 1, stretched / 4
    return Basis(side=side, numbers=numbers.astype(np.int8), exponents=exponents.astype(np.int8))


def orthonormal(columns: Columns) -> Columns:
    """Return columns, float64 (n, r), made orthonormal one after the other.

    Where one has nothing new to say, the first unit vector that has takes its place.
    """
    out = np.zeros_like(columns)
    scale = float(np.abs(columns).max(initial=0.0)) or 1.0
    for at in range(columns.shape[1]):
        for column in (columns[:, at] / scale, *np.eye(at + 1, len(columns))):
            new = column
            for _ in range(2):  # once is not enough where little is left
                new = new - out[:, :at] @ (out[:, :at].T @ new)
            length = float(np.linalg.norm(new))
            if length > _NOTHING:
                out[:, at] = new / length
                break
    return out
