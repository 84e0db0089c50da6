"""What one device's vector holds, for each purpose of a plan, and how the sum of a cohort is read.

train:    [values | weight | saturated | scores of blocks | evaluation tail]
evaluate: [evaluation tail]
powers:   [rows | per column a histogram of the powers of two of |x| | one-hot power of the device's rows]
moments:  [rows | per column the sums of x+, x- and x^2, in units of 2^e and 4^e]

Everything here is described by the signed plan, is the same on every device, and is inverted once, on the sum.
See docs/protocol.md, section 8.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import field

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError, LocalProtocolError, Refusal
from accord.plan import Plan
from accord.prg import NONCE_SIZE, kdf, keystream
from accord.tensors import Layout, Vector
from accord.update import feedback, fixedpoint, packing, sparse, tail, topk
from accord.update.sparse import Sparse
from accord.update.support import opened, scored
from accord.values import dataclass

BOUNDS = (*range(-126, -30, 4), *range(-30, 31), *range(34, 127, 4), 128)
"""The powers of two that bound the bins of a histogram: all normal float32, finely where most features lie."""
POWERS = len(BOUNDS) + 1
"""One bin for zero and one for each bound; smaller values than the first fall in its bin."""
ROW_POWERS = 32
_COUNT_BITS, _SUM_BITS, _MOMENT_STEP = 32, 64, -40
"""A sum of squares tells deviations of a millionth of the bound from none: a place on a map, a year, a pressure."""


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What a device found: a change of the model or none, the rows behind it, and figures by name."""

    rows: int
    delta: Vector | None = field(default=None, repr=False)
    figures: Mapping[str, npt.ArrayLike] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Total:
    """What the sum of a cohort says; `mean` is in coordinates, float32 of shape (K,), `scores` are sums per block."""

    figures: Mapping[str, list[float]]
    mean: Vector | None = field(default=None, repr=False)
    weight: int = 0
    saturated: int = 0
    scores: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """One device's vector, uint32 of shape (length,), and the residual that it leaves, float32 of shape (P,).

    In open mode `sparse` is what goes over the wire in its place.
    """

    vector: npt.NDArray[np.uint32] = field(repr=False)
    sparse: Sparse | None = None
    left: Vector | None = field(default=None, repr=False)


def _figures(plan: Plan) -> tuple[tail.Field, ...]:
    count = tail.Field(name="count", length=1, bits=_COUNT_BITS, exponent=0)
    if plan.purpose == "powers":
        return (
            count,
            tail.Field(name="powers", length=plan.length * POWERS, bits=_COUNT_BITS, exponent=0),
            tail.Field(name="rows", length=ROW_POWERS, bits=_COUNT_BITS, exponent=0),
        )
    if plan.purpose == "moments":
        sums = [
            tail.Field(name=name, length=plan.length, bits=_SUM_BITS, exponent=_MOMENT_STEP)
            for name in ("positive", "negative", "squared")
        ]
        return (count, *sums)
    return tail.fields(plan.task)


class Form:
    """The layout of the vector that a plan asks for.

    Args:
        plan: the plan, whose `length` is the number of columns for statistics.
        layout: the model's trainable tensors.
        support: the bytes that the plan's update names; none if it is dense.

    Raises:
        CodecError: the plan's scales, length or support do not fit the model.
    """

    def __init__(self, plan: Plan, layout: Layout, support: bytes = b"") -> None:
        self.plan = plan
        self.bits = plan.fixed.modulus_bits
        self.coordinates = opened(plan.update, support, layout)
        self._value_bits = plan.fixed.value_bits
        self._units: Vector | None = None
        self._top = fixedpoint.top_value(plan.fixed)
        self._fields = _figures(plan)
        self._size = self.parameters = self._scored = 0
        self._largest: topk.Largest | None = None
        if plan.purpose == "train":
            if plan.length != layout.size:
                raise CodecError(f"the plan is for {plan.length} parameters, the model has {layout.size}")
            self._size = layout.size
            self._units = fixedpoint.limits(self.coordinates.spans, plan.fixed)
            self.parameters = self._units.size
            self._scored = scored(plan.update, layout)
            scores = tail.Field(
                name="scores", length=self._scored, bits=self._value_bits, exponent=plan.update.score_exponent
            )
            self._fields = (
                tail.Field(name="weight", length=1, bits=fixedpoint.WEIGHT_BITS, exponent=0),
                tail.Field(name="saturated", length=1, bits=fixedpoint.SATURATION_BITS, exponent=0),
                *([scores] if self._scored else []),
                *self._fields,
            )
        self._figures = tail.length(self._fields, self._value_bits)
        self.length = self.parameters + self._figures
        if plan.update.open:
            spans = self.coordinates.spans
            self._largest = topk.Largest(plan.update, spans, plan.fixed.exponents, self._top)
            self._shape = topk.shape(plan.update, spans, packing.packed_size(self._figures, self._value_bits))

    @property
    def largest(self) -> int:
        """Bytes of the largest vector that a device may send."""
        return self._shape.largest if self._largest else packing.packed_size(self.length, self.bits)

    def pack(self, coded: Coded) -> bytes:
        """Return the bytes of a vector that no mask is added to."""
        if coded.sparse is None:
            return packing.pack(coded.vector, self.bits)
        return sparse.encode(coded.sparse, self._shape)

    def unpack(self, data: bytes) -> npt.NDArray[np.uint32]:
        """Return the vector, uint32 of shape (length,), that one device sent without a mask.

        Raises:
            CodecError: it is none of this length.
            Refusal: `CorruptUpdate` or `OversizeUpdate`, in open mode.
        """
        if self._largest is None:
            return packing.unpack(data, self.length, self.bits)
        found = sparse.decode(data, self._shape)
        try:
            figures = packing.unpack(found.figures, self._figures, self._value_bits)
        except CodecError as error:
            raise Refusal("CorruptUpdate", str(error)) from error
        values = self._largest.read(found)
        return np.concatenate([topk.laid(values, found.places, self._size), figures])

    def encode(self, found: Contribution, seed: bytes) -> npt.NDArray[np.uint32]:
        """Return one device's vector, uint32 of shape (length,), not yet masked; see `coded`."""
        return self.coded(found, seed).vector

    def coded(self, found: Contribution, seed: bytes, residual: Vector | None = None) -> Coded:
        """Return one device's vector, not yet masked, and what it leaves out if the plan wants that back.

        Args:
            found: what the device contributes.
            seed: 32 bytes that decide the rounding.
            residual: what its updates before have left out, float32 of shape (P,).

        Raises:
            LocalProtocolError: a part is missing, of another size, or not a number.
        """
        figures = dict(found.figures)
        if self._units is None:
            return Coded(vector=tail.encode(self._fields, figures, self._value_bits))
        weight, top = fixedpoint.weight(found.rows, self.plan.fixed.largest_weight)
        delta = np.zeros(self._size, np.float32) if found.delta is None else found.delta
        if delta.shape != (self._size,):
            raise LocalProtocolError(f"an update has {self._size} values, not shape {delta.shape}")
        times = self.plan.update.feedback
        if times and not np.isfinite(delta).all():  # what is not sent would poison the residual unseen
            raise LocalProtocolError(fixedpoint.NO_NUMBER)
        whole = delta if residual is None or not times else delta + residual
        share, values = weight / top, self.coordinates.take(whole)
        taken: Sparse | None = None
        if self._largest is None:
            encoded = fixedpoint.encode(values, share, self._units, self._top, seed, remember=times > 0)
        else:
            taken, encoded = self._largest.take(values, fixedpoint.weighted(values, share, self._units), seed)
        figures |= {"weight": weight, "saturated": encoded.saturated}
        if self._scored:
            figures["scores"] = self._steps(share * self.coordinates.scores(whole), kdf(seed, b"scores"))
        ending = tail.encode(self._fields, figures, self._value_bits)
        if taken is not None:
            taken = dataclasses.replace(taken, figures=packing.pack(ending, self._value_bits))
        vector = np.concatenate([encoded.values, ending])
        if encoded.rounded is None or not times:
            return Coded(vector=vector, sparse=taken)
        if not weight:
            return Coded(vector=vector, sparse=taken, left=residual)
        rounded = encoded.rounded / (self._units * np.float32(share))
        with np.errstate(over="ignore", invalid="ignore"):  # which `capped` drops
            left = whole - self.coordinates.put(values - rounded)
        return Coded(vector=vector, sparse=taken, left=feedback.capped(left, delta, times))

    def _steps(self, scores: Vector, seed: bytes) -> npt.NDArray[np.float64]:
        """Round scores to whole steps, up or down at random: the small ones of many devices must not all vanish."""
        drawn = np.frombuffer(keystream(seed, bytes(NONCE_SIZE), 2 * scores.size), "<u2")
        exponent = self.plan.update.score_exponent
        steps = np.floor(np.ldexp(scores.astype(np.float64), -exponent) + (drawn + 0.5) / 65_536)
        return np.ldexp(steps, exponent)

    def decode(self, sums: npt.NDArray[np.uint32]) -> Total:
        """Read the sum of a cohort, uint32 of shape (length,), already modulo 2^m.

        Raises:
            CodecError: another length, or weights that sum to zero.
        """
        if sums.shape != (self.length,):
            raise CodecError(f"a sum of {self.length} coordinates is expected, not {sums.size}")
        figures = tail.decode(self._fields, sums[self.parameters :], self._value_bits)
        if self._units is None:
            return Total(figures=figures)
        weight = int(figures.pop("weight")[0])
        saturated = int(figures.pop("saturated")[0])
        scores = tuple(figures.pop("scores", ()))
        _, top = fixedpoint.weight(1, self.plan.fixed.largest_weight)
        values = fixedpoint.signed(sums[: self.parameters], self.bits)
        mean = fixedpoint.mean(values, weight, top, self._units)
        return Total(figures=figures, mean=mean, weight=weight, saturated=saturated, scores=scores)


def power_bins(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return for each |value| its bin: 0 for zero, else 1 + the place in `BOUNDS` of the power that bounds it."""
    _, exponents = np.frexp(np.abs(values))
    bins = np.minimum(np.searchsorted(BOUNDS, exponents), len(BOUNDS) - 1) + 1
    return np.where(values == 0, 0, bins).astype(np.int64)
