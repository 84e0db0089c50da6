"""Factors: their products are exact integers, and every lie about them is refused by name."""

import dataclasses
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import Refusal
from accord.prg import digest
from accord.update import basis, delta, factors
from accord.update.delta import Delta
from tests.update.version_line import KINDS, LAYOUT, Line, drawn


@pytest.mark.parametrize(("shape", "rank"), [((300, 400), 3), ((2, 140_000), 1), ((140_000, 2), 1)])
@pytest.mark.parametrize("side", [0, 1])
def test_stretches_of_any_matrix_are_the_product_in_exact_integers(
    shape: tuple[int, int], rank: int, side: int
) -> None:
    rng = np.random.default_rng(side)
    entries = rng.integers(-127, 128, (shape[1 - side], rank)).astype(np.int8)
    entries[0] = 127
    held = basis.Basis(side=side, numbers=entries, exponents=np.full(rank, -9, np.int8))
    numbers = rng.integers(-(2**31), 2**31, shape[side] * rank)
    part = rng.normal(0, 1, shape[0] * shape[1]).astype(np.float32)
    product = (
        entries.astype(np.int64) @ numbers.reshape(rank, -1)
        if side
        else numbers.reshape(-1, rank) @ entries.T.astype(np.int64)
    )
    grid, shift = -20, -14
    halves = np.array([round(int(one) / 2**14) for one in product.ravel()[:500]])  # Python's round: ties to even
    expected = (np.rint(part[:500].astype(np.float64) * 2.0**20) + halves) * 2.0**-20
    whole = (np.rint(part * 2.0**20) + np.rint(product.ravel() * 2.0**shift)) * 2.0**grid
    factors.move(part, grid, shift, held, numbers.astype(np.float64))
    assert (part[:500] == expected.astype(np.float32)).all()
    assert (part == whole.astype(np.float32)).all()


def test_the_largest_products_are_exact_in_whatever_order_they_are_added() -> None:
    entries = np.where(np.arange(256) % 3, -128, 127).astype(np.int8).reshape(1, 256)
    numbers = np.where(np.arange(256) % 2, -(2**31), 2**31 - 1)
    exact = sum(int(a) * int(b) for a, b in zip(entries.ravel(), numbers, strict=True))
    held = basis.Basis(side=1, numbers=entries, exponents=np.full(256, -9, np.int8))
    for order in (np.arange(256), np.argsort(numbers), np.random.default_rng(0).permutation(256)):
        some = dataclasses.replace(held, numbers=entries[:, order])
        left, right = factors.sides(some, numbers[order].astype(np.float64))
        assert (left @ right).item() == exact
    assert 256 * 2**7 * 2**31 == 2**46


def again(one: Delta, **changes: object) -> bytes:
    return dataclasses.replace(one, advances=(dataclasses.replace(one.advances[0], **changes),)).encode()  # type: ignore[arg-type]


def test_every_lie_about_factors_is_refused_by_name() -> None:
    line = Line(0)
    line.round("low-rank", 1)
    base, newest = line.snapshots
    made = line.led(base)
    assert made is not None
    good = Delta.decode(made)
    first = good.advances[0]
    assert first.rank == 2
    support = first.support
    spans = sum(drawn(1, 2).spans)
    lies = {
        "CorruptDelta": (
            again(good, rank=0),
            again(good, rank=1),
            again(good, rank=3),
            again(good, support=b""),
            again(good, support=support[:-1]),
            again(good, support=support + b"\0"),
            again(good, support=b"\2" + support[1:]),
            again(good, support=support[:1] + b"\0" + support[2:]),
            again(good, support=support[:3] + bytes(len(support) - 3)),
            again(good, places=b"\1"),
            again(good, deflated=True, values=zlib.compress(bytes(spans - 1), 0)),
            again(good, deflated=False, values=bytes(3)),
            again(good, grid=(127,) * 4, shifts=(127,) * 4),
            again(good, shifts=(first.shifts[0], -1, *first.shifts[2:])),
        ),
        "OversizeDelta": (again(good, deflated=True, values=zlib.compress(bytes(1 << 24), 9)),),
        "WrongDelta": (
            again(good, shifts=(first.shifts[0] + 1, *first.shifts[1:])),
            again(good, support=support[:-1] + bytes([support[-1] ^ 1])),
            dataclasses.replace(good, advances=good.advances * 2).encode(),
        ),
    }
    for reason, cases in lies.items():
        for case in cases:
            with pytest.raises(Refusal, match=f"^{reason}:"):
                delta.apply(base, case, LAYOUT, digest(newest))
    assert delta.apply(base, made, LAYOUT, digest(newest)) == newest


@settings(deadline=None)
@given(st.data())
def test_a_changed_byte_of_a_chain_is_refused_or_leads_to_the_same_model(data: st.DataObject) -> None:
    line = Line(0)
    for seed, kind in enumerate(KINDS):
        line.round(kind, seed)
    base, newest = line.snapshots[0], line.snapshot
    made = delta.along(base, newest, line.since(base), LAYOUT)
    assert made is not None
    at = data.draw(st.integers(0, len(made) - 1))
    changed = made[:at] + bytes([made[at] ^ data.draw(st.integers(1, 255))]) + made[at + 1 :]
    try:
        found = delta.apply(base, changed, LAYOUT, digest(newest))
    except Refusal:
        return
    assert found == newest
