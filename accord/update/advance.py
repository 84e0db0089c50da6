"""What turns one version of the model into another, exactly: whole numbers for each tensor, as they are or in factors.

Holds no snapshot and no digest, which are the delta's, and no randomness; decides nothing. See section 8.8 of
docs/protocol.md.
"""

import zlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError, Refusal
from accord.records import Flag, Int, Many, Octets, Record, field
from accord.tensors import Layout, Tensor, Vector
from accord.update import blocks, factors, packing
from accord.update.blocks import Blocks
from accord.update.factors import AT_ONCE, Steps, whole
from accord.update.subspace import Subspace
from accord.values import dataclass

FINEST = -149
"""All float32 are multiples of 2^-149."""
FINEST_SHIFT = -64
"""A product of factors may be finer than the grid; a number that is listed by itself may not."""
LARGEST = 1 << 30
_EXACT = 2.0**52
"""Up to here float64 holds every whole number, with room for a sum."""
_WIDEST = 32
_MEMORY = 9
"""zlib's largest level of memory, 256 KiB: it has no name for it."""
_MOST_RANK = 256
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Advance(Record):
    """From one version's parameters to another's.

    A parameter w of tensor t becomes (round(w / 2^grid[t]) + round(d * 2^shifts[t])) * 2^grid[t], where d is a whole
    number. With `rank` 0 it is 0 outside the blocks that `places` lists, and otherwise listed; else `support` holds
    bases as a plan's does, d is the product of the tensor's basis and of numbers that stand for its coordinates, and
    tensors without a basis are listed whole. A number takes `widths[t]` bits, zigzag. `values` holds them tensor by
    tensor: packed, or `deflated` by bytes of the same rank.
    """

    LIMIT: ClassVar[int] = LARGEST

    grid: tuple[int, ...] = field(Many(Int(FINEST, 127), 1, 4_096))
    shifts: tuple[int, ...] = field(Many(Int(FINEST_SHIFT, 127), 1, 4_096))
    widths: tuple[int, ...] = field(Many(Int(0, _WIDEST), 1, 4_096))
    places: bytes = field(Octets(0, 1 << 20))
    rank: int = field(Int(0, _MOST_RANK))
    support: bytes = field(Octets(0, 1 << 20))
    deflated: bool = field(Flag())
    values: bytes = field(Octets(0, LARGEST))


def made(
    *, grid: Sequence[int], shifts: Sequence[int], numbers: Sequence[Numbers], places: bytes, rank: int, support: bytes
) -> Advance | None:
    """Return the advance of whole numbers, int64, of each tensor; None if they are too large for one."""
    zigzag = [(some << 1) ^ (some >> 63) for some in numbers]
    widths = [int(some.max(initial=0)).bit_length() for some in zigzag]
    if max(widths) > _WIDEST:
        return None
    packed = b"".join(
        packing.pack(some.astype(np.uint32), width) for some, width in zip(zigzag, widths, strict=True) if width
    )
    deflated = _deflated(_planes(zigzag, widths))
    return Advance(
        grid=tuple(grid),
        shifts=tuple(shifts),
        widths=tuple(widths),
        places=places,
        rank=rank,
        support=support,
        deflated=len(deflated) < len(packed),
        values=min(packed, deflated, key=len),
    )


def between(before: Vector, after: Vector, layout: Layout) -> Advance | None:
    """Return what leads from one version's parameters to another's, or None if nothing leads there exactly."""
    grid = [_grid_of(after[_of(place)]) for place in layout.places]
    steps = [
        whole(after[_of(place)], g) - whole(before[_of(place)], g) for place, g in zip(layout.places, grid, strict=True)
    ]
    if any(step.size and np.abs(step).max() >= _EXACT for step in steps):
        return None
    changed = blocks.touched(np.concatenate(steps))
    shifts = [_trailing(step) for step in steps]
    numbers = [
        (step[_changed(changed, place)] * 2.0**-shift).astype(np.int64)
        for place, step, shift in zip(layout.places, steps, shifts, strict=True)
    ]
    found = made(grid=grid, shifts=shifts, numbers=numbers, places=blocks.encode(changed), rank=0, support=b"")
    if found is None:
        return None
    there = before.astype(np.float32)
    try:
        move(there, found, layout)
    except CodecError:
        return None
    return found if there.tobytes() == after.tobytes() else None  # a minus zero, which is on no grid


def move(params: Vector, advance: Advance, layout: Layout) -> None:
    """Turn parameters, float32 of shape (P,), into those of the next version, in place and a stretch at a time.

    Raises:
        CodecError: it is an advance of another model, or leads to infinity.
        Refusal: `OversizeDelta`, its values would take more room than it says.
    """
    if not len(advance.grid) == len(advance.shifts) == len(advance.widths) == len(layout.tensors):
        raise CodecError(f"a delta of {len(advance.grid)} tensors for a model of {len(layout.tensors)}")
    if advance.rank:
        if advance.places:
            raise CodecError("a delta that lists blocks beside factors")
        subspace = Subspace(layout, advance.rank, advance.support)
        bases, counts = subspace.bases, subspace.spans
        changed = np.ones(blocks.count(layout.size), np.bool_)
    else:
        if advance.support:
            raise CodecError("a delta that has a support and no factors")
        changed = blocks.decode(advance.places, layout.size)
        bases = [None] * len(layout.tensors)
        counts = tuple(int(np.count_nonzero(_changed(changed, place))) for place in layout.places)
    each = zip(layout.places, advance.grid, advance.shifts, bases, _numbers(advance, counts), strict=True)
    for place, g, shift, basis, some in each:
        part = params[_of(place)]
        if basis is not None and some.size:
            factors.move(part, g, shift, basis, _signed(some))
        else:
            if shift < 0 and basis is None:
                raise CodecError("numbers that are finer than their grid")
            _move(part, g, shift, _changed(changed, place), some)
    if not np.isfinite(params).all():
        raise CodecError("a delta leads to infinity")


def _move(part: Vector, g: int, shift: int, changed: Blocks, some: packing.Ring) -> None:
    taken = 0
    for start in range(0, part.size, AT_ONCE):
        stretch, here = part[start : start + AT_ONCE], changed[start : start + AT_ONCE]
        there = int(np.count_nonzero(here))
        steps = np.zeros(stretch.size)
        if some.size:
            steps[here] = _signed(some[taken : taken + there]) * 2.0**shift
        taken += there
        with np.errstate(over="ignore", invalid="ignore"):
            stretch[:] = (whole(stretch, g) + steps) * 2.0**g


def _numbers(advance: Advance, counts: Sequence[int]) -> list[packing.Ring]:
    """Return the zigzag numbers of each tensor; none where its width is 0."""
    found, at, values = [], 0, advance.values
    if not advance.deflated:
        for count, width in zip(counts, advance.widths, strict=True):
            size = packing.packed_size(count, width)
            piece, at = values[at : at + size], at + size
            found.append(packing.unpack(piece, count, width) if width else np.zeros(0, np.uint32))
        if at != len(values):
            raise CodecError(f"{len(values)} bytes of values where {at} are expected")
        return found
    ranks = [-(-width // 8) for width in advance.widths]
    body = _inflated(values, sum(count * rank for count, rank in zip(counts, ranks, strict=True)))
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


def _planes(numbers: Sequence[Numbers], widths: Sequence[int]) -> bytes:
    """Return the numbers by bytes of the same rank, which deflate better than packed ones."""
    parts = [
        (some >> (8 * rank) & 0xFF).astype(np.uint8).tobytes()
        for some, width in zip(numbers, widths, strict=True)
        for rank in range(-(-width // 8))
    ]
    return b"".join(parts)


def _of(place: Tensor) -> slice:
    return slice(place.offset, place.offset + place.size)


def _changed(changed: Blocks, place: Tensor) -> Blocks:
    return blocks.members(changed, place.offset, place.offset + place.size)


def _grid_of(values: Vector) -> int:
    """Return the largest exponent of which all values are multiples."""
    mantissas, exponents = np.frexp(values[values != 0])
    if not mantissas.size:
        return 0
    odd_part = (mantissas * np.float32(2**24)).astype(np.int64)
    odd = np.frexp((odd_part & -odd_part).astype(np.float64))[1] - 1
    return max(FINEST, int((exponents - 24 + odd).min()))


def _trailing(steps: Steps) -> int:
    """Return how many low bits all of these whole numbers have in common as zeros."""
    joined = int(np.bitwise_or.reduce(np.abs(steps).astype(np.int64), initial=0))
    return (joined & -joined).bit_length() - 1 if joined else 0


def _signed(numbers: packing.Ring) -> Steps:
    wide = numbers.astype(np.int64)
    return ((wide >> 1) ^ -(wide & 1)).astype(np.float64)
