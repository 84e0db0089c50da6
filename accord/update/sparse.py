"""One device's own choice of values as bytes: steps, places as gaps, narrow values, and the figures behind them.

    flags (1) | count (4) | bytes of the gaps (4) | steps | gaps | values | figures

Only open mode has them: the choice shows which parameters a device's rows touch. See docs/protocol.md, section 8.10.
"""

from dataclasses import field

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError, Refusal
from accord.update import compression, packing, varints
from accord.values import dataclass

_HEAD = 9
_STEP = 4
_GAPS, _VALUES = 1, 2
"""Bits of the flags: which parts are compressed; each is where that makes it shorter."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a plan says of such an update, so that nothing is made that it does not ask for."""

    size: int  # parameters
    most: int  # values at most
    steps: int
    bits: int  # of a value: 1 is a sign
    figures: int  # bytes of what follows the values
    compression: str

    @property
    def largest(self) -> int:
        """Bytes of the largest one."""
        return _HEAD + _STEP * self.steps + varints.LONGEST * self.most + self.packed(self.most) + self.figures

    def packed(self, count: int) -> int:
        """Return the bytes of so many values."""
        return packing.packed_size(count, self.bits)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sparse:
    """Values at ascending places, int64 of shape (n,) both, the steps that they count, and packed figures."""

    steps: tuple[int, ...]
    places: npt.NDArray[np.int64] = field(repr=False)
    values: npt.NDArray[np.int64] = field(repr=False)
    figures: bytes = field(repr=False)


def encode(found: Sparse, shape: Shape) -> bytes:
    """Return the bytes; values are -1 or 1 for one bit, else within ±(2^(bits-1) - 1)."""
    raw = found.values > 0 if shape.bits == 1 else found.values
    packed = packing.pack(raw.astype(np.int64).astype(np.uint32), shape.bits)
    gaps, squeezed = _shorter(varints.encode(np.diff(found.places, prepend=-1) - 1), shape)
    values, narrowed = _shorter(packed, shape)
    flags = _GAPS * squeezed | _VALUES * narrowed
    head = bytes([flags]) + found.places.size.to_bytes(4, "little") + len(gaps).to_bytes(4, "little")
    return b"".join((head, np.array(found.steps, "<u4").tobytes(), gaps, values, found.figures))


def _shorter(data: bytes, shape: Shape) -> tuple[bytes, bool]:
    squeezed = compression.compress(shape.compression, data)
    return (squeezed, True) if len(squeezed) < len(data) else (data, False)


def decode(data: bytes, shape: Shape) -> Sparse:
    """Return what a device sent; every size is checked against the plan before anything is made of it.

    Raises:
        Refusal: `OversizeUpdate`, it is or holds more than the plan asks for; `CorruptUpdate`, it is none.
    """
    if len(data) > shape.largest:
        raise Refusal("OversizeUpdate", f"an update of {len(data)} bytes; the plan's has {shape.largest} at most")
    try:
        return _decoded(data, shape)
    except CodecError as error:
        raise Refusal("CorruptUpdate", str(error)) from error


def _decoded(data: bytes, shape: Shape) -> Sparse:
    start, end = _HEAD + _STEP * shape.steps, len(data) - shape.figures
    if end < start:
        raise CodecError(f"an update of {len(data)} bytes is cut short")
    flags, count = data[0], int.from_bytes(data[1:5], "little")
    between = start + int.from_bytes(data[5:_HEAD], "little")
    if flags & ~(_GAPS | _VALUES):
        raise CodecError("unknown flags")
    if count > shape.most:
        raise Refusal("OversizeUpdate", f"{count} values, and the plan asks for {shape.most} at most")
    if between > end:
        raise CodecError("the gaps are cut short")
    raw, packed = data[start:between], data[between:end]
    if flags & _GAPS:
        raw = compression.decompress(shape.compression, raw, varints.LONGEST * count)
    if flags & _VALUES:
        packed = compression.decompress(shape.compression, packed, shape.packed(count))
    gaps = varints.decode(raw)
    if gaps.size != count:
        raise CodecError(f"{gaps.size} places for {count} values")
    places = np.cumsum(gaps + 1) - 1
    if count and places[-1] >= shape.size:
        raise CodecError(f"place {places[-1]} of {shape.size}")
    values = packing.unpack(packed, count, shape.bits).astype(np.int64)
    steps = tuple(int(step) for step in np.frombuffer(data[_HEAD:start], "<u4"))
    return Sparse(steps=steps, places=places, values=_signed(values, shape.bits), figures=data[end:])


def _signed(values: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    if bits == 1:
        return 2 * values - 1
    half = 1 << (bits - 1)
    if (values == half).any():
        raise CodecError(f"a value of -{half}: {half - 1} is the largest magnitude")
    return np.where(values > half, values - 2 * half, values)
