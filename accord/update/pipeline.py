"""What one device's vector holds, for each purpose of a plan, and how the sum of a cohort is read.

train:    [values | weight | saturated | evaluation tail]
evaluate: [evaluation tail]
powers:   [rows | per column a histogram of the powers of two of |x| | one-hot power of the device's rows]
moments:  [rows | per column the sums of x+, x- and x^2, in units of 2^e and 4^e]

Everything here is described by the signed plan, is the same on every device, and is inverted once, on the sum.
See docs/protocol.md, section 8.
"""

from collections.abc import Mapping
from dataclasses import field

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError, LocalProtocolError
from accord.plan import Plan
from accord.tensors import Layout, Vector
from accord.update import fixedpoint, tail
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
    """What the sum of a cohort says; `mean` is float32 of shape (P,), `largest` the greatest |sum| per tensor."""

    figures: Mapping[str, list[float]]
    mean: Vector | None = field(default=None, repr=False)
    weight: int = 0
    saturated: int = 0


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

    Raises:
        CodecError: the plan's scales or length do not fit the model.
    """

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self.plan = plan
        self.bits = plan.fixed.modulus_bits
        self._value_bits = plan.fixed.value_bits
        self._units: Vector | None = None
        self._top = fixedpoint.top_value(plan.fixed)
        self._fields = _figures(plan)
        self.parameters = 0
        if plan.purpose == "train":
            if plan.length != layout.size:
                raise CodecError(f"the plan is for {plan.length} parameters, the model has {layout.size}")
            self._units = fixedpoint.limits(layout, plan.fixed)
            self.parameters = layout.size
            self._fields = (
                tail.Field(name="weight", length=1, bits=fixedpoint.WEIGHT_BITS, exponent=0),
                tail.Field(name="saturated", length=1, bits=fixedpoint.SATURATION_BITS, exponent=0),
                *self._fields,
            )
        self.length = self.parameters + tail.length(self._fields, self._value_bits)

    def encode(self, found: Contribution, seed: bytes) -> npt.NDArray[np.uint32]:
        """Return one device's vector, uint32 of shape (length,), not yet masked.

        Args:
            found: what the device contributes.
            seed: 32 bytes that decide the rounding.

        Raises:
            LocalProtocolError: a part is missing, of another size, or not a number.
        """
        figures = dict(found.figures)
        if self._units is None:
            return tail.encode(self._fields, figures, self._value_bits)
        weight, top = fixedpoint.weight(found.rows, self.plan.fixed.largest_weight)
        delta = np.zeros(self.parameters, np.float32) if found.delta is None else found.delta
        if delta.shape != (self.parameters,):
            raise LocalProtocolError(f"an update has {self.parameters} values, not shape {delta.shape}")
        encoded = fixedpoint.encode(delta, weight / top, self._units, self._top, seed)
        figures |= {"weight": weight, "saturated": encoded.saturated}
        return np.concatenate([encoded.values, tail.encode(self._fields, figures, self._value_bits)])

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
        _, top = fixedpoint.weight(1, self.plan.fixed.largest_weight)
        values = fixedpoint.signed(sums[: self.parameters], self.bits)
        mean = fixedpoint.mean(values, weight, top, self._units)
        return Total(figures=figures, mean=mean, weight=weight, saturated=saturated)


def power_bins(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return for each |value| its bin: 0 for zero, else 1 + the place in `BOUNDS` of the power that bounds it."""
    _, exponents = np.frexp(np.abs(values))
    bins = np.minimum(np.searchsorted(BOUNDS, exponents), len(BOUNDS) - 1) + 1
    return np.where(values == 0, 0, bins).astype(np.int64)
