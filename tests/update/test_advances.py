"""Advances: whatever rounds there were, whoever follows them one by one comes to the aggregator's very bytes."""

import dataclasses
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import Refusal
from accord.prg import digest
from accord.tensors import Layout, Vector
from accord.update import advance, basis, block_support, delta, factors, subspace
from accord.update.advance import Advance
from accord.update.coordinates import Coordinates, Whole
from accord.update.delta import LONGEST, Delta
from accord.update.snapshot import Scaling, Snapshot, unscaled
from accord.update.subspace import Subspace
from aggregator.advances import Advances, Kept
from aggregator.deltas import Deltas
from aggregator.releases import Releases
from aggregator.way_down import REASONS, way_down

LAYOUT = Layout((("w", (30, 21)), ("b", (21,)), ("k", (12, 3, 2, 2)), ("c", ())))
COLUMNS = 2
KINDS = ("dense", "block-score", "low-rank")


def drawn(seed: int, rank: int, layout: Layout = LAYOUT) -> Subspace:
    """Return bases of random directions and sides."""
    rng, found = np.random.default_rng(seed), []
    for _, shape in layout.tensors:
        sizes = subspace.matrix(shape, rank)
        if sizes is not None:
            side = int(rng.integers(2))
            found.append(basis.rounded(side, basis.orthonormal(rng.normal(size=(sizes[1 - side], rank)))))
    return Subspace(layout, rank, subspace.encode(found))


def coordinates(kind: str, seed: int) -> Coordinates:
    if kind == "dense":
        return Whole(LAYOUT)
    if kind == "low-rank":
        return drawn(seed, 1 + seed % 4)
    count = block_support.count(LAYOUT.size, 64)
    mask = np.zeros(count, np.bool_)
    mask[np.random.default_rng(seed).permutation(count)[: block_support.chosen(300_000, count)]] = True
    return block_support.Blocks(LAYOUT, 64, 300_000, block_support.encode(mask))


def start(seed: int, layout: Layout = LAYOUT) -> Vector:
    return np.random.default_rng(seed).normal(0, 0.1, layout.size).astype(np.float32)


class Line:
    """The versions of a job and what led to them, as the aggregator has them."""

    def __init__(self, seed: int, bits: int = 8) -> None:
        self.releases, self.advances = Releases(LAYOUT, bits), Advances(LAYOUT)
        self.params, self.scaling = start(seed), unscaled(COLUMNS)
        self.wanted = self.params.astype(np.float64)
        self.snapshots = [self.snapshot]
        self.sizes: list[int] = []

    @property
    def snapshot(self) -> bytes:
        return Snapshot(params=self.params, scaling=self.scaling).encode()

    def round(self, kind: str, seed: int, scale: float = 1e-3) -> None:
        found = coordinates(kind, seed)
        values = np.random.default_rng(seed).normal(0, scale, sum(found.spans)).astype(np.float32)
        self.params, made = self.releases.after(self.params, values, found)
        self.wanted += found.put(values)
        self.release(made)

    def release(self, made: Advance | None) -> None:
        self.sizes.append(0 if made is None else len(made.encode()))
        self.advances.add(digest(self.snapshots[-1]), digest(self.snapshot), made)
        self.snapshots.append(self.snapshot)

    def since(self, held: bytes) -> list[Advance]:
        return list(self.advances.since(digest(held), digest(self.snapshot)))

    def led(self, held: bytes) -> bytes | None:
        known = {digest(one): one for one in self.snapshots}
        found = Deltas(LAYOUT, known.get, self.advances.since)
        return found.between(digest(held), digest(self.snapshot), self.snapshot)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(-30, 3)), min_size=1, max_size=7),
    st.integers(2, 12),
)
def test_from_any_version_over_any_rounds_to_the_aggregators_bytes(
    rounds: list[tuple[str, int, int]], bits: int
) -> None:
    line = Line(len(rounds), bits)
    for kind, seed, scale in rounds:
        line.round(kind, seed, 2.0**scale)
    newest = line.snapshots[-1]
    followed = 0
    for held in line.snapshots[:-1]:
        made = line.led(held)
        if made is not None and held != newest:
            assert len(made) < len(newest)
            assert delta.apply(held, made, LAYOUT, digest(newest)) == newest
        advances = line.since(held)
        if advances:
            params = delta.params_of(held, LAYOUT).copy()
            for one in advances:
                advance.move(params, Advance.decode(one.encode()), LAYOUT)
            assert params.tobytes() == newest[: 4 * LAYOUT.size]
            followed += 1
    assert followed == len(line.advances.kept)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99)), min_size=1, max_size=9), st.integers(3, 12))
def test_what_rounding_leaves_is_never_lost_whatever_rounds_there_are(rounds: list[tuple[str, int]], bits: int) -> None:
    line = Line(1, bits)
    for kind, seed in rounds:
        line.round(kind, seed)
        left = np.frombuffer(line.releases.residual or bytes(4 * LAYOUT.size), "<f4")
        assert np.abs(line.params.astype(np.float64) + left - line.wanted).max() < 1e-6


def test_what_was_left_out_is_sent_once_a_basis_fits_it() -> None:
    """With three bits much is left of a round; the same bases again, and nothing new to say, send it."""
    line, found = Line(1, 3), drawn(5, 4)
    values = np.random.default_rng(0).normal(0, 1e-3, sum(found.spans)).astype(np.float32)
    missing = []
    for round_ in range(8):
        line.params, made = line.releases.after(line.params, values if round_ == 0 else 0 * values, found)
        assert made is not None
        missing.append(float(np.linalg.norm(np.frombuffer(line.releases.residual, "<f4"))))
    assert missing[0] > 0.1 * np.linalg.norm(found.put(values))
    assert missing[-1] < 0.01 * missing[0]


def test_a_rollback_and_a_version_that_nothing_leads_to_begin_anew() -> None:
    line = Line(0)
    for seed in range(4):
        line.round("low-rank", seed)
    assert [len(line.since(held)) for held in line.snapshots] == [4, 3, 2, 1, 0]
    back = delta.params_of(line.snapshots[1], LAYOUT)
    line.advances.add(digest(b"made elsewhere"), digest(line.snapshots[1]), None)
    line.params = back.copy()
    line.snapshots.append(line.snapshot)
    assert line.advances.kept == ()
    line.round("low-rank", 9)
    assert [len(line.since(held)) for held in line.snapshots[2:]] == [0, 0, 0, 1, 0]
    jumped = Advances(LAYOUT)
    jumped.restore(line.advances.kept, line.advances.data, digest(line.snapshot))
    jumped.add(digest(b"made elsewhere"), digest(b"newest"), line.since(line.snapshots[-2])[0])
    assert len(jumped.kept) == 1, "nothing leads from before what was made elsewhere"
    for held in line.snapshots[:-1]:
        made = line.led(held)
        assert made is not None
        assert delta.apply(held, made, LAYOUT, digest(line.snapshot)) == line.snapshot


def test_a_model_that_came_back_is_led_on_from_where_it_was_last() -> None:
    line = Line(0)
    for seed in range(3):
        line.round("low-rank", seed)
    again = line.snapshots[1]
    one = line.since(line.snapshots[2])[0]
    line.advances.add(digest(line.snapshot), digest(again), one)
    line.advances.add(digest(again), digest(b"next"), one)
    assert len(line.advances.since(digest(again), digest(b"next"))) == 1


@pytest.mark.parametrize("kind", ["dense", "low-rank"])
def test_a_grid_never_becomes_finer(kind: str) -> None:
    line = Line(0)
    line.round(kind, 1, 1e3)
    coarse = line.releases.grid
    line.params = np.full(LAYOUT.size, 1e-3, np.float32)
    line.round(kind, 2, 1e-6)
    assert line.releases.grid == coarse
    assert min(coarse) > -25


def test_scales_and_an_unmoved_model_are_a_link_of_the_chain() -> None:
    line = Line(0)
    held = line.snapshot
    line.scaling = Scaling(mean=np.ones(COLUMNS, np.float32), factor=np.full(COLUMNS, 3, np.float32), target_mean=2.0)
    line.release(advance.between(line.params, line.params, LAYOUT))
    line.round("low-rank", 1)
    assert len(line.since(held)) == 2
    made = line.led(held)
    assert made is not None
    assert len(Delta.decode(made).advances) in (1, 2)
    along = delta.along(held, line.snapshot, line.since(held), LAYOUT)
    assert along is not None
    for one in (made, along):
        assert delta.apply(held, one, LAYOUT, digest(line.snapshot)) == line.snapshot


def test_the_smallest_way_is_taken_and_too_large_a_chain_is_not_kept() -> None:
    layout = Layout((("w", (300, 400)),))
    releases, advances, params = Releases(layout), Advances(layout), start(0, layout)
    known: dict[bytes, bytes] = {}
    names = []

    def release(values: Vector, found: Coordinates) -> None:
        nonlocal params
        before = digest(params.tobytes())
        params, made = releases.after(params, values, found)
        advances.add(before, digest(params.tobytes()), made)
        known[digest(params.tobytes())] = params.tobytes()
        names.append(digest(params.tobytes()))

    known[digest(params.tobytes())] = params.tobytes()
    rng = np.random.default_rng(0)
    for seed in range(4):
        found = drawn(seed, 4, layout)
        release(rng.normal(0, 1e-2, sum(found.spans)).astype(np.float32), found)
    led = Deltas(layout, known.get, advances.since)
    made = led.between(names[0], names[-1], known[names[-1]])
    assert made is not None
    assert len(Delta.decode(made).advances) == 3
    assert len(made) < 3 * 0.06 * layout.size
    for _ in range(8):
        release(rng.normal(0, 1e-3, layout.size).astype(np.float32), Whole(layout))
    made = Deltas(layout, known.get, advances.since).between(names[-4], names[-1], known[names[-1]])
    assert made is not None
    assert len(Delta.decode(made).advances) == 1, "three dense rounds in one"
    assert 1 <= len(advances.kept) < 8, "eight of them are more than a snapshot"
    assert sum(len(data) for data in advances.data.values()) < 4 * layout.size


def test_it_is_said_what_a_release_holds_and_why() -> None:
    line, seen = Line(0), []
    for kind in ("dense", "block-score", "low-rank"):
        line.round(kind, 1)
        seen.append(way_down(line.since(line.snapshots[-2])[0], LAYOUT))
    still = advance.between(line.params, line.params, LAYOUT)
    nowhere = advance.between(np.full(LAYOUT.size, 1, np.float32), np.full(LAYOUT.size, -0.0, np.float32), LAYOUT)
    seen += [way_down(still, LAYOUT), way_down(nowhere, LAYOUT)]
    assert seen == ["whole", "blocks", "factors", "still", "snapshot"]
    assert set(seen) == REASONS.keys()


def test_no_more_are_kept_than_a_delta_takes() -> None:
    advances, layout = Advances(Layout((("w", (100_000,)),))), Layout((("w", (1,)),))
    made = advance.between(start(0, layout), start(1, layout), layout)
    for number in range(LONGEST + 5):
        advances.add(digest(bytes([number])), digest(bytes([number + 1])), made)
    assert len(advances.kept) == LONGEST
    assert len(advances.since(digest(bytes([5])), digest(bytes([LONGEST + 5])))) == LONGEST
    assert not advances.since(digest(bytes([4])), digest(bytes([LONGEST + 5])))
    assert not advances.since(digest(bytes([5])), digest(bytes([LONGEST + 4]))), "to the newest alone"


def test_kept_advances_come_back_from_the_last_lost_one_on() -> None:
    """One may be lost to the job beside: what only sets the scales is the same advance in all jobs of a bundle."""
    line = Line(3)
    for seed in range(3):
        line.round("low-rank", seed)
    again, newest = Advances(LAYOUT), digest(line.snapshot)
    again.restore(line.advances.kept, line.advances.data, newest)
    assert [one.encode() for one in again.since(line.advances.kept[0].base, newest)] == list(
        line.advances.data.values()
    )
    for gone, left in ((0, 2), (1, 1), (2, 0)):
        lost = dict(line.advances.data)
        del lost[line.advances.kept[gone].advance]
        again.restore(line.advances.kept, lost, newest)
        assert again.kept == line.advances.kept[3 - left :]
        for held in line.snapshots[3 - left : 3]:
            found = delta.along(held, line.snapshot, again.since(digest(held), newest), LAYOUT)
            assert found is not None
            assert delta.apply(held, found, LAYOUT, newest) == line.snapshot
        assert not again.since(digest(line.snapshots[gone]), newest)
    again.restore((), {}, newest)
    again.add(newest, digest(b"next"), line.since(line.snapshots[2])[0])
    assert len(again.since(newest, digest(b"next"))) == 1
    assert isinstance(again.kept[0], Kept)


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


def test_more_advances_than_a_delta_may_have_are_none() -> None:
    line = Line(0)
    line.round("low-rank", 1)
    one = line.since(line.snapshots[0])[0]
    small = dataclasses.replace(one, values=b"", widths=(0,) * 4, deflated=False, rank=0, support=b"", places=b"\1")
    base = line.snapshots[0]
    assert delta.along(base, line.snapshot, [small] * LONGEST, LAYOUT) is not None
    assert delta.along(base, line.snapshot, [small] * (LONGEST + 1), LAYOUT) is None
    assert delta.along(base, line.snapshot, [], LAYOUT) is None


def test_a_chain_that_is_no_smaller_than_the_snapshot_is_none() -> None:
    line = Line(0, 20)
    line.round("dense", 1)
    base, newest = line.snapshots
    (large,) = line.since(base)
    assert delta.along(base, newest, [large], LAYOUT) is not None
    assert delta.along(base, newest, [large, large], LAYOUT) is None
