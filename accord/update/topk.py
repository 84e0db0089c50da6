"""The largest values of one device's change, as few bits each: the updates of open mode, `topk` and `ternary`.

A value becomes a small whole number of steps, a step a whole number of the plan's units: what the aggregator adds up is
integers, as with masks. See docs/protocol.md, section 8.10.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accord.errors import Refusal
from accord.plan import MICRO, Update
from accord.prg import NONCE_SIZE, keystream
from accord.tensors import Vector
from accord.update.fixedpoint import Encoded
from accord.update.sparse import Shape, Sparse

_NONCE = bytes(NONCE_SIZE)
_FRACTION = 16
"""`ternary` counts its one step in units of the coarsest tensor's scale, with so many bits behind the point."""
Integers = npt.NDArray[np.int64]


def most(share: int, size: int) -> int:
    """Return how many values a share in millionths is: one at least."""
    return max(1, size * share // MICRO)


def shape(update: Update, spans: Sequence[int], figures: int) -> Shape:
    """Return what a plan's update says of the bytes; `figures` of them follow the values."""
    size = sum(spans)
    return Shape(
        size=size,
        most=most(update.share, size),
        steps=1 if update.kind == "ternary" else len(spans),
        bits=update.bits,
        figures=figures,
        compression=update.compression,
    )


def laid(values: Integers, places: Integers, size: int) -> npt.NDArray[np.uint32]:
    """Return the values at their places among zeros, uint32 of shape (size,), modulo 2^32."""
    vector = np.zeros(size, np.uint32)
    vector[places] = values.astype(np.int32).view(np.uint32)
    return vector


class Largest:
    """The largest values of changes.

    Args:
        update: of the plan.
        spans: parameters of each tensor.
        exponents: of each tensor's scale.
        top: the largest magnitude of a sum's part, in units.
    """

    def __init__(self, update: Update, spans: Sequence[int], exponents: Sequence[int], top: int) -> None:
        self._update, self._exponents, self._top = update, exponents, top
        self._ends = np.cumsum(spans)
        self._most = most(update.share, sum(spans))

    def take(self, whole: Vector, scaled: Vector, seed: bytes) -> tuple[Sparse, Encoded]:
        """Take a change: for the wire without its figures, and in the plan's units.

        What is left of it holds all that was not taken, and what rounding took away, but not what was cut.

        Args:
            whole: float32 of shape (P,); its magnitudes decide.
            scaled: the same, weighted, in units.
            seed: 32 bytes that decide the rounding.
        """
        places = np.sort(np.argpartition(-np.abs(whole), self._most - 1)[: self._most])
        places = places[scaled[places] != 0]
        tensors = self._tensors(places)
        wanted = scaled[places].astype(np.float64)
        cut = np.clip(wanted, -self._top, self._top)
        steps = self._fitting(cut, tensors)
        units = self._units(steps)[tensors]
        values = self._rounded(cut, units, seed)
        sent = self._sent(values, units)
        left = scaled.copy()
        left[places] = cut - sent
        sparse = Sparse(steps=steps, places=places, values=values, figures=b"")
        vector, saturated = laid(sent, places, scaled.size), int(np.count_nonzero(cut != wanted))
        return sparse, Encoded(values=vector, saturated=saturated, rounded=left)

    def read(self, sparse: Sparse) -> Integers:
        """Return the integers, int64 of shape (n,), that a device's values stand for.

        Raises:
            Refusal: `CorruptUpdate`, a step is larger than any value.
        """
        if max(sparse.steps, default=0) > self._top << (_FRACTION * self._one):
            raise Refusal("CorruptUpdate", f"a step of {max(sparse.steps)}: {self._top} is the largest value")
        return self._sent(sparse.values, self._units(sparse.steps)[self._tensors(sparse.places)])

    @property
    def _one(self) -> bool:
        return self._update.kind == "ternary"

    def _tensors(self, places: Integers) -> Integers:
        return np.asarray(np.searchsorted(self._ends, places, side="right"))

    def _fitting(self, cut: npt.NDArray[np.float64], tensors: Integers) -> tuple[int, ...]:
        """Return the steps: the mean magnitude for signs, else so that the largest value just fits."""
        sizes = np.abs(cut)
        if self._one:
            coarsest = np.ldexp(sizes, np.array(self._exponents)[tensors] - max(self._exponents))
            mean = float(coarsest.mean()) if sizes.size else 0.0
            return (min(self._top << _FRACTION, round(mean * (1 << _FRACTION))),)
        steps = []
        for tensor in range(len(self._exponents)):
            found = sizes[tensors == tensor]
            if self._update.bits == 1:
                step = round(float(found.mean())) if found.size else 0
            else:
                step = int(np.ceil(found.max(initial=0.0) / (2 ** (self._update.bits - 1) - 1)))
            steps.append(max(1, step))
        return tuple(steps)

    def _units(self, steps: Sequence[int]) -> Integers:
        """Return the units in a step of each tensor."""
        if not self._one:
            return np.array(steps, np.int64)
        coarsest, (step,) = max(self._exponents), steps
        finer = [(2 * step << (coarsest - e)) + (1 << _FRACTION) >> (_FRACTION + 1) for e in self._exponents]
        return np.array([min(self._top, one) for one in finer], np.int64)

    def _rounded(self, cut: npt.NDArray[np.float64], units: Integers, seed: bytes) -> Integers:
        if self._update.bits == 1:
            return np.where(cut > 0, 1, -1).astype(np.int64)
        drawn = np.frombuffer(keystream(seed, _NONCE, 2 * cut.size), "<u2")
        highest = 2 ** (self._update.bits - 1) - 1
        found: Integers = np.floor(cut / units + (drawn + 0.5) / 65_536).astype(np.int64)
        return np.clip(found, -highest, highest)

    def _sent(self, values: Integers, units: Integers) -> Integers:
        return np.asarray(np.clip(values * units, -self._top, self._top))
