"""What turns the version of the model that a device holds into a later one, exactly: by one advance or several.

One that is made from the two snapshots leads over any number of versions at once; those that the versions between them
were made with are kept for a while, and are smaller where they hold factors. See docs/protocol.md, section 8.8.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from accord.errors import CodecError, Refusal
from accord.prg import digest
from accord.records import Many, Nested, Octets, Record, field
from accord.tensors import Layout, Vector
from accord.update import advance
from accord.update.advance import Advance
from accord.values import dataclass

LONGEST = 30
"""Advances in one delta: each of them takes a pass over the model."""
HIGHEST = 1_024
"""The ranks of all advances in one delta, added up: so many multiply-adds for each parameter. A chain of the default
rank has 240; with 1,024 the products take about as long as the passes over the model do."""


@dataclass(frozen=True, kw_only=True)
class Delta(Record):
    """From the snapshot whose digest is `base` to the one whose digest is `result`, by one advance after the other.

    `scaling` is the end of the snapshot if it changed.
    """

    LIMIT: ClassVar[int] = advance.LARGEST

    base: bytes = field(Octets(32))
    result: bytes = field(Octets(32))
    advances: tuple[Advance, ...] = field(Many(Nested(Advance), 1, LONGEST))
    scaling: bytes = field(Octets(0, 1 << 23))


def between(base: bytes, result: bytes, layout: Layout) -> bytes | None:
    """Return the encoded delta of one advance from one encoded snapshot to another of the same model.

    None if there is none that leads there exactly and is smaller than the snapshot.
    """
    if len(base) != len(result):
        return None
    found = advance.between(params_of(base, layout), params_of(result, layout), layout)
    return None if found is None else along(base, result, (found,), layout)


def along(base: bytes, result: bytes, advances: Sequence[Advance], layout: Layout) -> bytes | None:
    """Return the encoded delta of advances that lead from one encoded snapshot to another of the same model.

    None if it is not smaller than the snapshot, or has too many, or they are of too high ranks.
    """
    parameters = 4 * layout.size
    if not 1 <= len(advances) <= LONGEST or _ranks(advances) > HIGHEST:
        return None
    found = Delta(
        base=digest(base),
        result=digest(result),
        advances=tuple(advances),
        scaling=b"" if base[parameters:] == result[parameters:] else result[parameters:],
    ).encode()
    return found if len(found) < len(result) else None


def apply(base: bytes, data: bytes, layout: Layout, wanted: bytes) -> bytes:
    """Return the encoded snapshot that a delta leads to.

    Args:
        base: an encoded snapshot of this model.
        data: an encoded delta, of a size that was bounded before it was fetched.
        layout: the model's trainable tensors.
        wanted: the digest of the snapshot that it must lead to.

    Raises:
        Refusal: `CorruptDelta`, it is not the encoding of one for this model; `ForeignDelta`, it is from or to another
            snapshot; `CostlyDelta`, its ranks come to more than `HIGHEST`; `OversizeDelta`, its values would take more
            room than it says; `WrongDelta`, what it leads to is another snapshot than it names.
    """
    try:
        delta = Delta.decode(data)
        if (delta.base, delta.result) != (digest(base), wanted):
            raise Refusal("ForeignDelta", "a delta from or to another version than this device's")
        if (ranks := _ranks(delta.advances)) > HIGHEST:
            raise Refusal("CostlyDelta", f"advances whose ranks come to {ranks}; at most {HIGHEST} are worked out")
        found = _rebuilt(base, delta, layout)
    except CodecError as error:
        raise Refusal("CorruptDelta", str(error)) from error
    if digest(found) != wanted:
        raise Refusal("WrongDelta", "the delta leads to other parameters than those of the version")
    return found


def params_of(snapshot: bytes, layout: Layout) -> Vector:
    """Return the parameters of an encoded snapshot, a read-only view of its bytes."""
    return np.frombuffer(snapshot, "<f4", count=layout.size)


def _ranks(advances: Sequence[Advance]) -> int:
    return sum(one.rank for one in advances)


def _rebuilt(base: bytes, delta: Delta, layout: Layout) -> bytes:
    parameters = 4 * layout.size
    if len(base) < parameters:
        raise CodecError(f"a version of {len(base)} bytes, for a model of {layout.size} parameters")
    if len(delta.scaling) not in (0, len(base) - parameters):
        raise CodecError(f"a scaling of {len(delta.scaling)} bytes where there are {len(base) - parameters}")
    params = params_of(base, layout).astype("<f4")
    for one in delta.advances:
        advance.move(params, one, layout)
    return params.tobytes() + (delta.scaling or base[parameters:])
