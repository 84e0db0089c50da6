"""Lies about deltas: from or to other versions, of another model, cut short, too large, or to another model."""

import dataclasses
import zlib
from collections.abc import Iterator

from golden_numbers import DELTA_LAYOUT, delta_versions
from taped import Named

from accord import prg
from accord.update.delta import Delta, between


def cases() -> Iterator[Named]:
    """Yield the cases of a device that holds one version and is to come to another."""
    base, result = delta_versions()
    data = between(base, result, DELTA_LAYOUT)
    assert data is not None
    good = Delta.decode(data)
    again = dataclasses.replace
    few = zlib.compress(bytes(8), 0)
    many = zlib.compress(bytes(1_000), 0)
    for name, about, lie in (
        ("ForeignDelta", "from another version", again(good, base=bytes(32))),
        ("ForeignDelta", "to another version", again(good, result=bytes(32))),
        ("CorruptDelta", "of another model", again(good, grid=good.grid[1:])),
        ("CorruptDelta", "blocks behind the last one", again(good, places=b"\x01\x06")),
        ("CorruptDelta", "blocks in an unknown form", again(good, places=b"\x02")),
        ("CorruptDelta", "fewer values than the blocks have", again(good, values=good.values[:-1])),
        ("CorruptDelta", "left-over values", again(good, values=good.values + b"\x00")),
        ("CorruptDelta", "values that are not deflated", again(good, deflated=True)),
        ("CorruptDelta", "values that inflate to too few", again(good, deflated=True, values=few)),
        ("CorruptDelta", "the end of another snapshot", again(good, scaling=bytes(4))),
        ("CorruptDelta", "steps to infinity", again(good, grid=(127, 127, 127), shifts=(127, 127, 127))),
        ("OversizeDelta", "values that inflate to too many", again(good, deflated=True, values=many)),
        ("WrongDelta", "other steps", again(good, shifts=(good.shifts[0] + 1, *good.shifts[1:]))),
        ("WrongDelta", "without the scaling", again(good, scaling=b"")),
    ):
        yield name, _case(about, base, result, lie.encode())
    yield "CorruptDelta", _case("cut short", base, result, data[:-1])
    yield "CorruptDelta", _case("left-over bytes", base, result, data + b"\x00")


def _case(about: str, base: bytes, result: bytes, data: bytes) -> dict[str, object]:
    state = {"base": base.hex(), "wanted": prg.digest(result).hex()}
    return {"about": about, "door": "delta", "state": state, "feed": [data.hex()]}
