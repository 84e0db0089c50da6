"""Deltas: exact over any number of versions, as small as what changed, and no lie gets through."""

import dataclasses
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import CodecError, Refusal, UsageError
from accord.prg import digest
from accord.tensors import Layout, Vector
from accord.update import blocks, delta
from accord.update.delta import Delta
from accord.update.snapshot import Scaling, Snapshot, unscaled
from aggregator.releases import Releases

LAYOUT = Layout((("w", (30, 21)), ("b", (21,)), ("v", (700,)), ("c", (1,))))
COLUMNS = 3


def snapshot(params: Vector, scaling: Scaling | None = None) -> bytes:
    return Snapshot(params=params, scaling=unscaled(COLUMNS) if scaling is None else scaling).encode()


def start(seed: int = 0) -> Vector:
    return np.random.default_rng(seed).normal(0, 0.1, LAYOUT.size).astype(np.float32)


def versions(count: int, *, share: float = 1.0, seed: int = 0, bits: int = 8) -> list[bytes]:
    """Return the snapshots of a job whose rounds touch a share of the blocks; the first is a bundle's, on no grid."""
    rng, releases, params = np.random.default_rng(seed), Releases(LAYOUT, bits), start(seed)
    found = [snapshot(params)]
    for _ in range(count):
        change = rng.normal(0, 1e-3, LAYOUT.size).astype(np.float32)
        change[~blocks.members(rng.random(blocks.count(LAYOUT.size)) < share, 0, LAYOUT.size)] = 0
        params = releases.next(params, change)
        found.append(snapshot(params))
    return found


@given(st.binary(max_size=40), st.integers(1, 3_000))
def test_bytes_that_list_no_blocks_are_refused_and_others_have_one_reading(data: bytes, parameters: int) -> None:
    try:
        found = blocks.decode(data, parameters)
    except CodecError:
        return
    assert (blocks.decode(blocks.encode(found), parameters) == found).all()


@given(st.integers(1, 20_000), st.floats(0, 1), st.integers(0, 2**32))
def test_blocks_come_back_from_the_shorter_form(parameters: int, share: float, seed: int) -> None:
    wanted = np.random.default_rng(seed).random(blocks.count(parameters)) < share
    data = blocks.encode(wanted)
    assert (blocks.decode(data, parameters) == wanted).all()
    assert len(data) <= 1 + -(-wanted.size // 8)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.05, 1), st.integers(2, 24))
def test_one_delta_leads_from_any_version_to_any_later_one(seed: int, share: float, bits: int) -> None:
    found = versions(6, share=share, seed=seed, bits=bits)
    for at, base in enumerate(found):
        for later in found[at + 1 :]:
            made = delta.between(base, later, LAYOUT)
            assert made is not None or bits > 12  # a fine release may take a snapshot's room
            if made is not None:
                assert len(made) < len(later)
                assert delta.apply(base, made, LAYOUT, digest(later)) == later


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(-60, 60))
def test_whatever_two_models_are_a_delta_is_exact_or_none_is_made(seed: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    base, result = (snapshot(np.ldexp(rng.normal(0, 1, LAYOUT.size), scale).astype(np.float32)) for _ in range(2))
    made = delta.between(base, result, LAYOUT)
    assert made is None or (len(made) < len(result) and delta.apply(base, made, LAYOUT, digest(result)) == result)


def test_a_round_that_touches_a_tenth_of_the_blocks_costs_a_tenth() -> None:
    layout = Layout((("w", (1000, 640)),))
    params = np.random.default_rng(0).normal(0, 0.05, layout.size).astype(np.float32)
    sizes = {}
    for share in (1.0, 0.1):
        rng, releases = np.random.default_rng(1), Releases(layout)
        change = rng.normal(0, 1e-3, layout.size).astype(np.float32)
        change[~blocks.members(rng.random(10_000) < share, 0, layout.size)] = 0
        made = delta.between(snapshot(params), snapshot(releases.next(params, change)), layout)
        assert made is not None
        sizes[share] = len(made) / layout.size
    assert sizes[1.0] < 0.85
    assert sizes[0.1] < 0.09


def test_scales_travel_with_a_model_that_did_not_move() -> None:
    scaling = Scaling(mean=np.ones(COLUMNS, np.float32), factor=np.full(COLUMNS, 3, np.float32), target_mean=2.0)
    base, later = snapshot(start()), snapshot(start(), scaling)
    made = delta.between(base, later, LAYOUT)
    assert made is not None
    assert len(made) < 300
    assert delta.apply(base, made, LAYOUT, digest(later)) == later


def test_what_rounding_leaves_is_never_lost() -> None:
    rng, releases, params = np.random.default_rng(3), Releases(LAYOUT, 4), start()
    wanted = params.astype(np.float64)
    for _ in range(40):
        change = rng.normal(0, 1e-3, LAYOUT.size).astype(np.float32)
        change[~blocks.members(rng.random(blocks.count(LAYOUT.size)) < 0.3, 0, LAYOUT.size)] = 0
        wanted += change
        params = releases.next(params, change)
        there = params.astype(np.float64) + np.frombuffer(releases.residual, "<f4")
        assert np.abs(there - wanted).max() < 1e-6
        resumed = Releases(LAYOUT, 4)
        resumed.restore(releases.grid, releases.residual)
        assert (resumed.next(params, change) == _copy(releases).next(params, change)).all()
    assert 1e-5 < np.abs(params - wanted).max() < 3e-3  # without feedback, 40 roundings would add up


def _copy(releases: Releases) -> Releases:
    found = Releases(LAYOUT, 4)
    found.restore(releases.grid, releases.residual)
    return found


def test_blocks_that_a_round_does_not_touch_stay_as_they_are() -> None:
    releases, change = Releases(LAYOUT), np.zeros(LAYOUT.size, np.float32)
    change[64:128] = np.linspace(1e-3, 2e-3, 64)
    first = releases.next(start(), change)
    other = np.zeros(LAYOUT.size, np.float32)
    other[:64] = 1e-2
    second = releases.next(first, other)
    assert (second[64:] == first[64:]).all()


def test_a_release_has_no_minus_zero_and_a_delta_leads_to_it() -> None:
    """A bundle's model may have one, which equals zero and has other bytes; a delta counts in integers."""
    change = np.full(LAYOUT.size, -1e-6, np.float32)
    change[0] = 1.0
    base = np.full(LAYOUT.size, -0.0, np.float32)
    found = Releases(LAYOUT).next(base, change)
    assert (found == 0).any()
    assert not np.signbit(found[found == 0]).any()
    made = delta.between(snapshot(base), snapshot(found), LAYOUT)
    assert made is not None
    assert delta.apply(snapshot(base), made, LAYOUT, digest(snapshot(found))) == snapshot(found)


def test_what_belongs_to_another_model_is_refused() -> None:
    with pytest.raises(CodecError, match="another model"):
        Releases(LAYOUT).restore((0,), b"")
    with pytest.raises(CodecError, match="another model"):
        Releases(LAYOUT).restore((0,) * 4, b"1234")
    with pytest.raises(UsageError, match="release_bits 1"):
        Releases(LAYOUT, 1)


def other(delta: Delta, **changes: object) -> bytes:
    """Return a delta with another advance."""
    return dataclasses.replace(delta, advances=(dataclasses.replace(delta.advances[0], **changes),)).encode()  # type: ignore[arg-type]


def test_every_lie_is_refused_by_name() -> None:
    base, later = versions(1, share=0.5)
    made = delta.between(base, later, LAYOUT)
    assert made is not None
    good = Delta.decode(made)
    first = good.advances[0]
    changed = [
        blocks.members(blocks.decode(first.places, LAYOUT.size), at.offset, at.offset + at.size) for at in LAYOUT.places
    ]
    inflated = sum(int(part.sum()) * -(-width // 8) for part, width in zip(changed, first.widths, strict=True))
    bomb, stream = zlib.compress(bytes(1 << 24), 9), zlib.compress(bytes(inflated), 9)
    lies = {
        "CorruptDelta": (
            b"",
            made[:-1],
            made + b"\0",
            other(good, deflated=False, values=bytes(3)),
            other(good, grid=first.grid[1:]),
            other(good, places=first.places + b"\0"),
            other(good, places=b"\2"),
            other(good, deflated=True, values=zlib.compress(b"")),
            other(good, deflated=True, values=b"no stream"),
            other(good, deflated=True, values=stream[:-1]),
            other(good, deflated=True, values=stream + b"\0"),
            other(good, grid=(127,) * 4, shifts=(127,) * 4),
            other(good, shifts=(-1, *first.shifts[1:])),
            other(good, support=b"\0"),
            other(good, rank=1),
            dataclasses.replace(good, scaling=b"four").encode(),
        ),
        "ForeignDelta": (
            dataclasses.replace(good, base=bytes(32)).encode(),
            dataclasses.replace(good, result=bytes(32)).encode(),
        ),
        "OversizeDelta": (other(good, deflated=True, values=bomb),),
        "WrongDelta": (
            dataclasses.replace(good, scaling=later[-4 * (2 * COLUMNS + 2) :][::-1]).encode(),
            other(good, shifts=(first.shifts[0] + 1, *first.shifts[1:])),
            other(good, deflated=True, values=stream),
            dataclasses.replace(good, advances=(first, first)).encode(),
        ),
    }
    for reason, cases in lies.items():
        for case in cases:
            with pytest.raises(Refusal, match=f"^{reason}:"):
                delta.apply(base, case, LAYOUT, digest(later))
    assert delta.apply(base, made, LAYOUT, digest(later)) == later


@settings(deadline=None)
@given(st.data())
def test_a_changed_byte_is_refused_or_leads_to_the_same_model(data: st.DataObject) -> None:
    base, later = versions(1, share=0.5)
    made = delta.between(base, later, LAYOUT)
    assert made is not None
    at = data.draw(st.integers(0, len(made) - 1))
    changed = made[:at] + bytes([made[at] ^ data.draw(st.integers(1, 255))]) + made[at + 1 :]
    try:
        found = delta.apply(base, changed, LAYOUT, digest(later))
    except Refusal:
        return
    assert found == later
