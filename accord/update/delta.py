"""What turns one version of the model into a later one, exactly: whole steps of a power of two for each tensor.

Made from the two snapshots, so one delta leads over any number of versions. Holds no randomness, and decides nothing.
See docs/protocol.md, section 8.8.
"""

import zlib
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError, Refusal
from accord.prg import digest
from accord.records import Flag, Int, Many, Octets, Record, field
from accord.tensors import Layout, Tensor, Vector
from accord.update import blocks, packing
from accord.update.blocks import Blocks
from accord.values import dataclass

FINEST = -149
"""All float32 are multiples of 2^-149."""
_LARGEST = 1 << 30
_EXACT = 2.0**52
"""Up to here float64 holds every whole number, with room for a sum."""
_WIDEST = 32
_MEMORY = 9
"""zlib's largest level of memory, 256 KiB: it has no name for it."""
_AT_ONCE = 1 << 16
"""Parameters that are taken at once: float64 copies of a whole tensor would be more than a device has room for."""
Steps = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Delta(Record):
    """From the snapshot whose digest is `base` to the one whose digest is `result`.

    A parameter w of tensor t becomes (round(w / 2^grid[t]) + d * 2^shifts[t]) * 2^grid[t], where d is 0 outside the
    blocks that `places` lists, and otherwise a whole number of `widths[t]` bits, zigzag. `values` holds them tensor by
    tensor: packed, or `deflated` by bytes of the same rank. `scaling` is the end of the snapshot if it changed.
    """

    LIMIT: ClassVar[int] = _LARGEST

    base: bytes = field(Octets(32))
    result: bytes = field(Octets(32))
    grid: tuple[int, ...] = field(Many(Int(FINEST, 127), 1, 4_096))
    shifts: tuple[int, ...] = field(Many(Int(0, 127), 1, 4_096))
    widths: tuple[int, ...] = field(Many(Int(0, _WIDEST), 1, 4_096))
    places: bytes = field(Octets(1, 1 << 20))
    deflated: bool = field(Flag())
    values: bytes = field(Octets(0, _LARGEST))
    scaling: bytes = field(Octets(0, 1 << 23))


def between(base: bytes, result: bytes, layout: Layout) -> bytes | None:
    """Return the encoded delta from one encoded snapshot to another of the same model.

    None if there is none that leads there exactly and is smaller than the snapshot.
    """
    if len(base) != len(result):
        return None
    before, after = _params(base, layout), _params(result, layout)
    grid = tuple(_grid_of(after[_of(place)]) for place in layout.places)
    steps = [
        _rounded(after[_of(place)], g) - _rounded(before[_of(place)], g)
        for place, g in zip(layout.places, grid, strict=True)
    ]
    if any(step.size and np.abs(step).max() >= _EXACT for step in steps):
        return None
    changed = blocks.touched(np.concatenate(steps))
    shifts, widths, numbers = [], [], []
    for place, step in zip(layout.places, steps, strict=True):
        shift = _trailing(step)
        numbers.append(_zigzag(step[_changed(changed, place)] * 2.0**-shift))
        shifts.append(shift)
        widths.append(int(numbers[-1].max(initial=0)).bit_length())
    if max(widths) > _WIDEST:
        return None
    packed = b"".join(
        packing.pack(some.astype(np.uint32), width) for some, width in zip(numbers, widths, strict=True) if width
    )
    deflated = _deflated(_planes(numbers, widths))
    parameters = 4 * layout.size
    delta = Delta(
        base=digest(base),
        result=digest(result),
        grid=grid,
        shifts=tuple(shifts),
        widths=tuple(widths),
        places=blocks.encode(changed),
        deflated=len(deflated) < len(packed),
        values=min(packed, deflated, key=len),
        scaling=b"" if base[parameters:] == result[parameters:] else result[parameters:],
    ).encode()
    if len(delta) >= len(result):
        return None
    try:
        return delta if apply(base, delta, layout, digest(result)) == result else None
    except Refusal:
        return None  # a number that is on no grid, such as minus zero: the snapshot has it


def apply(base: bytes, data: bytes, layout: Layout, wanted: bytes) -> bytes:
    """Return the encoded snapshot that a delta leads to.

    Args:
        base: an encoded snapshot of this model.
        data: an encoded delta, of a size that was bounded before it was fetched.
        layout: the model's trainable tensors.
        wanted: the digest of the snapshot that it must lead to.

    Raises:
        Refusal: `CorruptDelta`, it is not the encoding of one for this model; `ForeignDelta`, it is from or to another
            snapshot; `OversizeDelta`, its values would take more room than it says; `WrongDelta`, what it leads to is
            another snapshot than it names.
    """
    try:
        delta = Delta.decode(data)
        if (delta.base, delta.result) != (digest(base), wanted):
            raise Refusal("ForeignDelta", "a delta from or to another version than this device's")
        found = _rebuilt(base, delta, layout)
    except CodecError as error:
        raise Refusal("CorruptDelta", str(error)) from error
    if digest(found) != wanted:
        raise Refusal("WrongDelta", "the delta leads to other parameters than those of the version")
    return found


def _rebuilt(base: bytes, delta: Delta, layout: Layout) -> bytes:
    tensors, parameters = len(layout.tensors), 4 * layout.size
    if len(base) < parameters or not len(delta.grid) == len(delta.shifts) == len(delta.widths) == tensors:
        raise CodecError(f"a delta of {len(delta.grid)} tensors for a model of {tensors}")
    if len(delta.scaling) not in (0, len(base) - parameters):
        raise CodecError(f"a scaling of {len(delta.scaling)} bytes where there are {len(base) - parameters}")
    changed = blocks.decode(delta.places, layout.size)
    counts = [int(np.count_nonzero(_changed(changed, place))) for place in layout.places]
    numbers = _numbers(delta, counts)
    before, after = _params(base, layout), np.empty(layout.size, "<f4")
    for place, g, shift, some in zip(layout.places, delta.grid, delta.shifts, numbers, strict=True):
        taken = 0
        for start in range(place.offset, place.offset + place.size, _AT_ONCE):
            stop = min(start + _AT_ONCE, place.offset + place.size)
            here = blocks.members(changed, start, stop)
            there = int(np.count_nonzero(here))
            steps = np.zeros(stop - start)
            if some.size:
                steps[here] = _signed(some[taken : taken + there]) * 2.0**shift
            taken += there
            with np.errstate(over="ignore"):
                after[start:stop] = (_rounded(before[start:stop], g) + steps) * 2.0**g
    if not np.isfinite(after).all():
        raise CodecError("a delta leads to infinity")
    return after.tobytes() + (delta.scaling or base[parameters:])


def _numbers(delta: Delta, counts: list[int]) -> list[packing.Ring]:
    """Return the zigzag numbers of each tensor; none where its width is 0."""
    found, at = [], 0
    if not delta.deflated:
        for count, width in zip(counts, delta.widths, strict=True):
            size = packing.packed_size(count, width)
            piece, at = delta.values[at : at + size], at + size
            found.append(packing.unpack(piece, count, width) if width else np.zeros(0, np.uint32))
        if at != len(delta.values):
            raise CodecError(f"{len(delta.values)} bytes of values where {at} are expected")
        return found
    ranks = [-(-width // 8) for width in delta.widths]
    body = _inflated(delta.values, sum(count * rank for count, rank in zip(counts, ranks, strict=True)))
    for count, rank in zip(counts, ranks, strict=True):
        some = np.zeros(count if rank else 0, np.uint32)
        for place in range(rank):
            some |= body[at : at + count].astype(np.uint32) << np.uint32(8 * place)
            at += count
        found.append(some)
    return found


def _inflated(data: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Return `size` bytes, and take no more memory than for those.

    Raises:
        Refusal: `OversizeDelta`.
        CodecError: it is not deflated, or to fewer bytes, or something is left over.
    """
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise CodecError(f"values that are not deflated: {error}") from error
    if len(body) > size:
        raise Refusal("OversizeDelta", f"values that inflate to more than the {size} bytes that the blocks have")
    if len(body) != size or not stream.eof or stream.unused_data:
        raise CodecError(f"values that do not inflate to {size} bytes")
    return np.frombuffer(body, np.uint8)


def _deflated(data: bytes) -> bytes:
    """Return a zlib stream; strings come again by chance alone, so it looks for runs and no more: ten times faster."""
    stream = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY, zlib.Z_RLE)
    return stream.compress(data) + stream.flush()


def _planes(numbers: list[npt.NDArray[np.int64]], widths: list[int]) -> bytes:
    """Return the numbers by bytes of the same rank, which deflate better than packed ones."""
    parts = [
        (some >> (8 * rank) & 0xFF).astype(np.uint8).tobytes()
        for some, width in zip(numbers, widths, strict=True)
        for rank in range(-(-width // 8))
    ]
    return b"".join(parts)


def _params(snapshot: bytes, layout: Layout) -> Vector:
    return np.frombuffer(snapshot, "<f4", count=layout.size)


def _of(place: Tensor) -> slice:
    return slice(place.offset, place.offset + place.size)


def _changed(changed: Blocks, place: Tensor) -> Blocks:
    return blocks.members(changed, place.offset, place.offset + place.size)


def _rounded(values: Vector, exponent: int) -> Steps:
    """Return whole numbers of 2^exponent, ties to even, exact in float64; adding zero takes the sign off a zero."""
    return np.rint(values.astype(np.float64) * 2.0**-exponent) + 0.0


def _grid_of(values: Vector) -> int:
    """Return the largest exponent of which all values are multiples."""
    mantissas, exponents = np.frexp(values[values != 0])
    if not mantissas.size:
        return 0
    whole = (mantissas * np.float32(2**24)).astype(np.int64)
    odd = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return max(FINEST, int((exponents - 24 + odd).min()))


def _trailing(steps: Steps) -> int:
    """Return how many low bits all of these whole numbers have in common as zeros."""
    joined = int(np.bitwise_or.reduce(np.abs(steps).astype(np.int64), initial=0))
    return (joined & -joined).bit_length() - 1 if joined else 0


def _zigzag(steps: Steps) -> npt.NDArray[np.int64]:
    numbers = steps.astype(np.int64)
    return (numbers << 1) ^ (numbers >> 63)


def _signed(numbers: packing.Ring) -> Steps:
    wide = numbers.astype(np.int64)
    return ((wide >> 1) ^ -(wide & 1)).astype(np.float64)
