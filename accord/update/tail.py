"""The evaluation tail of a masked vector: sums over a device's own test rows, as limbs of non-negative integers.

There is no central test set in the field, so counts and losses ride inside the vector and only their sums are opened.
See docs/protocol.md, section 8.3.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError, LocalProtocolError
from accord.plan import Task
from accord.values import dataclass

HISTOGRAM_BINS = 64
_COUNT_BITS = 32
_SUM_BITS, _LOSS_STEP = 48, -20
_REAL_BITS, _REAL_STEP = 64, -24
"""Sums of reals in units of 2^e: up to 2^40 of them, in steps of 2^-24."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One named figure: `length` values, each stored as round(value / 2^exponent) in `bits` bits."""

    name: str
    length: int
    bits: int
    exponent: int


def fields(task: Task) -> tuple[Field, ...]:
    """Return the tail of a task, in wire order.

    Regression sums are in original units, of targets and errors of the order of 2^`target_exponent`; the targets' own
    sums are of what they differ from a centre that all devices know: their variance must not be lost in their mean.
    """
    count = Field(name="count", length=1, bits=_COUNT_BITS, exponent=0)
    loss = Field(name="loss", length=1, bits=_SUM_BITS, exponent=_LOSS_STEP)
    gate = _gate(task)
    if task.kind == "regression":
        one, two = task.target_exponent + _REAL_STEP, 2 * task.target_exponent + _REAL_STEP
        return (
            count,
            loss,
            Field(name="absolute", length=1, bits=_REAL_BITS, exponent=one),
            Field(name="squared", length=1, bits=_REAL_BITS, exponent=two),
            Field(name="positive", length=1, bits=_REAL_BITS, exponent=one),
            Field(name="negative", length=1, bits=_REAL_BITS, exponent=one),
            Field(name="target_squared", length=1, bits=_REAL_BITS, exponent=two),
            *gate,
        )
    correct = Field(name="correct", length=1, bits=_COUNT_BITS, exponent=0)
    if task.kind == "classification":
        return (count, loss, correct, *gate)
    bins = [Field(name=name, length=HISTOGRAM_BINS, bits=_COUNT_BITS, exponent=0) for name in ("ones", "zeros")]
    return (count, loss, correct, *bins, *gate)


def _gate(task: Task) -> tuple[Field, ...]:
    """Return what a device adds of the exported model: its rows, those it was emulated on, and both models on them."""
    if not task.gate:
        return ()
    rows = [Field(name=name, length=1, bits=_COUNT_BITS, exponent=0) for name in ("exported_rows", "emulated_rows")]
    names = ("graph_loss", "exported_loss") if task.kind == "regression" else ("graph_correct", "exported_correct")
    bits, exponent = (_SUM_BITS, _LOSS_STEP) if task.kind == "regression" else (_COUNT_BITS, 0)
    return (*rows, *(Field(name=name, length=1, bits=bits, exponent=exponent) for name in names))


def score_bins(logits: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Return the histogram bin, 0 to 63, of each logit (N,).

    Bins are equally wide in logit / (2 + |logit|): a sixteenth wide around 0, where a young model's scores lie, and
    still apart at 30, where a confident one's do. Equal bins of the probability would put those into the last one.
    """
    wide = logits.astype(np.float64)
    bins: npt.NDArray[np.intp] = ((wide / (2 + np.abs(wide)) + 1) * (HISTOGRAM_BINS / 2)).astype(np.intp)
    return np.minimum(bins, HISTOGRAM_BINS - 1)


def limbs(bits: int, value_bits: int) -> int:
    """Return how many limbs of `value_bits` bits hold `bits` bits."""
    return -(-bits // value_bits)


def length(layout: tuple[Field, ...], value_bits: int) -> int:
    """Return the coordinates that the tail takes."""
    return sum(field.length * limbs(field.bits, value_bits) for field in layout)


def to_limbs(values: npt.NDArray[np.uint64], bits: int, value_bits: int) -> npt.NDArray[np.uint32]:
    """Cut non-negative integers into limbs, least significant first: uint32 of shape (n * limbs,)."""
    count = limbs(bits, value_bits)
    shifts = np.arange(count, dtype=np.uint64) * np.uint64(value_bits)
    parts = (values[:, None] >> shifts[None, :]) & np.uint64((1 << value_bits) - 1)
    return parts.astype(np.uint32).ravel()


def from_limbs(sums: npt.NDArray[np.uint32], bits: int, value_bits: int) -> list[int]:
    """Put summed limbs together again, exactly."""
    count = limbs(bits, value_bits)
    rows = sums.reshape(-1, count)
    return [sum(int(part) << (value_bits * at) for at, part in enumerate(row)) for row in rows]


def encode(layout: tuple[Field, ...], figures: Mapping[str, npt.ArrayLike], value_bits: int) -> npt.NDArray[np.uint32]:
    """Return the tail of one device; values beyond a field's range are stored as its largest.

    Raises:
        LocalProtocolError: a figure is missing, has another length, is negative or not a number.
    """
    parts = []
    for field in layout:
        values = np.asarray(figures[field.name], np.float64).reshape(-1)
        if values.size != field.length or not (values >= 0).all():
            raise LocalProtocolError(f"figure {field.name!r} is not {field.length} non-negative numbers")
        # The largest double below 2^bits: 2^64 - 1 itself is none.
        scaled = np.minimum(np.rint(np.ldexp(values, -field.exponent)), np.nextafter(2.0**field.bits, 0))
        parts.append(to_limbs(scaled.astype(np.uint64), field.bits, value_bits))
    return np.concatenate(parts)


def decode(layout: tuple[Field, ...], sums: npt.NDArray[np.uint32], value_bits: int) -> dict[str, list[float]]:
    """Return the summed figures.

    Raises:
        CodecError: another number of coordinates.
    """
    if sums.shape != (length(layout, value_bits),):
        raise CodecError(f"a tail of {length(layout, value_bits)} coordinates is expected, not {sums.size}")
    found, at = {}, 0
    for field in layout:
        width = field.length * limbs(field.bits, value_bits)
        exact = from_limbs(sums[at : at + width], field.bits, value_bits)
        found[field.name] = [float(np.ldexp(float(value), field.exponent)) for value in exact]
        at += width
    return found
