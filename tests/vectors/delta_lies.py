"""Lies about deltas: from or to other versions, of another model, cut short, too large, or to another model."""

import dataclasses
import zlib
from collections.abc import Iterator

from golden_numbers import DELTA_LAYOUT, chain, delta_versions
from taped import Named

from accord import cbor, prg
from accord.update.advance import Advance
from accord.update.delta import Delta, between


def cases() -> Iterator[Named]:
    """Yield the cases of a device that holds one version and is to come to another."""
    base, result = delta_versions()
    data = between(base, result, DELTA_LAYOUT)
    assert data is not None
    good = Delta.decode(data)
    one = good.advances[0]
    few = zlib.compress(bytes(8), 0)
    many = zlib.compress(bytes(1_000), 0)
    for name, about, lie in (
        ("ForeignDelta", "from another version", dataclasses.replace(good, base=bytes(32))),
        ("ForeignDelta", "to another version", dataclasses.replace(good, result=bytes(32))),
        ("CorruptDelta", "of another model", _again(good, grid=one.grid[1:])),
        ("CorruptDelta", "blocks behind the last one", _again(good, places=b"\x01\x06")),
        ("CorruptDelta", "blocks in an unknown form", _again(good, places=b"\x02")),
        ("CorruptDelta", "fewer values than the blocks have", _again(good, values=one.values[:-1])),
        ("CorruptDelta", "left-over values", _again(good, values=one.values + b"\x00")),
        ("CorruptDelta", "values that are not deflated", _again(good, deflated=True)),
        ("CorruptDelta", "values that inflate to too few", _again(good, deflated=True, values=few)),
        ("CorruptDelta", "the end of another snapshot", dataclasses.replace(good, scaling=bytes(4))),
        ("CorruptDelta", "steps to infinity", _again(good, grid=(127, 127, 127), shifts=(127, 127, 127))),
        ("CorruptDelta", "numbers finer than their grid", _again(good, shifts=(-1, *one.shifts[1:]))),
        ("CorruptDelta", "a basis beside blocks", _again(good, support=bytes(12))),
        ("OversizeDelta", "values that inflate to too many", _again(good, deflated=True, values=many)),
        ("WrongDelta", "other steps", _again(good, shifts=(one.shifts[0] + 1, *one.shifts[1:]))),
        ("WrongDelta", "without the scaling", dataclasses.replace(good, scaling=b"")),
        ("WrongDelta", "one advance twice", dataclasses.replace(good, advances=(one, one))),
    ):
        yield name, _case(about, base, result, lie.encode())
    yield "CorruptDelta", _case("cut short", base, result, data[:-1])
    yield "CorruptDelta", _case("left-over bytes", base, result, data + b"\x00")
    yield from _of_factors()


def _of_factors() -> Iterator[Named]:
    """Yield the cases of a device that is led along a chain whose second advance has factors."""
    base, last, good = chain()
    one = good.advances[1]
    support = one.support
    for name, about, lie in (
        ("CorruptDelta", "a chain without advances", {"advances": ()}),
        ("CorruptDelta", "a basis cut short", {"support": support[:-1]}),
        ("CorruptDelta", "a basis with something behind it", {"support": support + b"\x00"}),
        ("CorruptDelta", "a basis of an unknown side", {"support": b"\x02" + support[1:]}),
        ("CorruptDelta", "a basis with an entry above 2", {"support": support[:1] + b"\xfb" + support[2:]}),
        ("CorruptDelta", "a basis with a vector of zeros", {"support": support[:3] + bytes(len(support) - 3)}),
        ("CorruptDelta", "factors of another rank", {"rank": 1}),
        ("CorruptDelta", "factors without a rank", {"rank": 0}),
        ("CorruptDelta", "blocks beside factors", {"places": b"\x01"}),
        ("CostlyDelta", "a chain of more work than a device does", {"advances": _of_rank(one, 171) * 6}),
        ("CorruptDelta", "factors of the highest ranks that a chain may have", {"advances": _of_rank(one, 128) * 8}),
        ("WrongDelta", "another number in a basis", {"support": support[:-1] + bytes([support[-1] ^ 1])}),
        ("WrongDelta", "a chain without its last advance", {"advances": good.advances[:-1]}),
    ):
        if "advances" in lie:
            wrong = [getattr(good, field) for field, _ in good.kinds()]
            wrong[2] = [advance.to_wire() for advance in lie["advances"]]  # type: ignore[attr-defined]
            data = cbor.encode(wrong)
        else:
            bad = dataclasses.replace(one, **lie)  # type: ignore[arg-type]
            data = dataclasses.replace(good, advances=(good.advances[0], bad, *good.advances[2:])).encode()
        yield name, _case(about, base, last, data)


def _of_rank(one: Advance, rank: int) -> tuple[Advance]:
    """Return an advance that says it is of another rank."""
    return (dataclasses.replace(one, rank=rank),)


def _again(delta: Delta, **changes: object) -> Delta:
    """Return a delta whose advance is another one."""
    return dataclasses.replace(delta, advances=(dataclasses.replace(delta.advances[0], **changes),))  # type: ignore[arg-type]


def _case(about: str, base: bytes, result: bytes, data: bytes) -> dict[str, object]:
    state = {"base": base.hex(), "wanted": prg.digest(result).hex()}
    return {"about": about, "door": "delta", "state": state, "feed": [data.hex()]}
