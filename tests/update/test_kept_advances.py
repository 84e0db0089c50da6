"""The advances that the aggregator keeps: which of them lead to the newest version, and for how long."""

import numpy as np

from accord.prg import digest
from accord.tensors import Layout, Vector
from accord.update import advance, delta
from accord.update.coordinates import Coordinates, Whole
from accord.update.delta import LONGEST, Delta
from aggregator.advances import Advances, Kept
from aggregator.deltas import Deltas
from aggregator.releases import Releases
from aggregator.way_down import REASONS, way_down
from tests.update.version_line import LAYOUT, Line, drawn, start


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
