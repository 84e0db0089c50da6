"""Advances: whatever rounds there were, whoever follows them one by one comes to the aggregator's very bytes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import Refusal
from accord.prg import digest
from accord.update import advance, delta
from accord.update.advance import Advance
from accord.update.delta import LONGEST, Delta
from accord.update.snapshot import Scaling
from aggregator.deltas import Deltas
from tests.update.version_line import COLUMNS, KINDS, LAYOUT, Line, drawn


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


def test_more_advances_than_a_delta_may_have_are_none() -> None:
    line = Line(0)
    line.round("low-rank", 1)
    one = line.since(line.snapshots[0])[0]
    small = dataclasses.replace(one, values=b"", widths=(0,) * 4, deflated=False, rank=0, support=b"", places=b"\1")
    base = line.snapshots[0]
    assert delta.along(base, line.snapshot, [small] * LONGEST, LAYOUT) is not None
    assert delta.along(base, line.snapshot, [small] * (LONGEST + 1), LAYOUT) is None
    assert delta.along(base, line.snapshot, [], LAYOUT) is None


@pytest.mark.parametrize(
    ("rank", "count", "followed"), [(8, 30, True), (32, 30, True), (64, 16, True), (64, 17, False)]
)
def test_no_device_is_asked_for_more_work_than_it_does(rank: int, count: int, followed: bool) -> None:
    """What is refused is refused before anything is worked out: the supports here are of no basis at all."""
    line = Line(0)
    line.round("low-rank", 1)
    one = dataclasses.replace(line.since(line.snapshots[0])[0], rank=rank, support=b"", values=b"", deflated=False)
    base, newest = line.snapshots
    assert (delta.along(base, newest, [one] * count, LAYOUT) is not None) == followed
    asked = Delta(base=digest(base), result=digest(newest), advances=(one,) * count, scaling=b"").encode()
    with pytest.raises(Refusal, match="^CorruptDelta:" if followed else "^CostlyDelta:"):
        delta.apply(base, asked, LAYOUT, digest(newest))


def test_a_chain_of_too_high_ranks_gives_way_to_one_advance() -> None:
    line = Line(0)
    line.round("dense", 1)
    base, newest = line.snapshots
    low = dataclasses.replace(line.since(base)[0], widths=(0,) * 4, values=b"", places=b"\1", deflated=False)
    for rank, count in ((64, 16), (64, 17)):
        chain = [dataclasses.replace(low, rank=rank, places=b"")] * count
        made = Deltas(LAYOUT, {digest(base): base}.get, lambda _held, _wanted, chain=chain: chain).between(
            digest(base), digest(newest), newest
        )
        assert made is not None
        assert len(Delta.decode(made).advances) == (count if count == 16 else 1)


def test_a_chain_that_is_no_smaller_than_the_snapshot_is_none() -> None:
    line = Line(0, 20)
    line.round("dense", 1)
    base, newest = line.snapshots
    (large,) = line.since(base)
    assert delta.along(base, newest, [large], LAYOUT) is not None
    assert delta.along(base, newest, [large, large], LAYOUT) is None
