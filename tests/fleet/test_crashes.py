"""Power is lost at every durable write and every send of a round, one after another; nothing is counted twice."""

import os

import numpy as np
import pytest
from crash_world import World

from accord.files.crash import CRASHES, Crash
from accord.plan import PROFILES
from accord.prg import digest
from accord.tensors import Layout
from aggregator.job import Job
from aggregator.job_step import Step

FULL = bool(os.environ.get("ACCORD_SOAK"))
WORST = Crash(names="lost", data="torn")


def run(world: World) -> World:
    world.run()
    world.check()
    return world


@pytest.mark.parametrize("profile", PROFILES)
def test_without_a_crash(profile: str) -> None:
    world = run(World(rounds=2, profile=profile))
    assert world.crashes == 0
    assert [r["status"] for r in world.books.records] == ["closed"] * 3
    assert [len(r["included"]) for r in world.books.records] == [4] * 3
    assert not any(device.refused for device in world.devices.values())
    assert all(len(device.finished) == 3 for device in world.devices.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_a_device_dies_at_every_change_to_its_disk(profile: str) -> None:
    calm = run(World(rounds=1, profile=profile))
    changes = len(calm.devices["dev-01"].files.operations)
    assert changes > 50
    for how in CRASHES if FULL else (WORST,):
        for at in range(10, changes):  # the first ten make the folder and the birth, before the world stands
            world = World(rounds=1, profile=profile)
            world.how = how
            world.devices["dev-01"].files.cut_at = at
            run(world)
            assert world.crashes == 1, (how, at)
            assert not world.devices["dev-01"].refused, (how, at, world.devices["dev-01"].refused)
            assert [r["status"] for r in world.books.records] == ["closed"] * 2, (how, at)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_device_dies_before_every_send(profile: str) -> None:
    calm = run(World(rounds=1, profile=profile))
    sends = calm.devices["dev-01"].fuse.count
    assert sends >= 10
    for at in range(1, sends):
        world = World(rounds=1, profile=profile)
        world.devices["dev-01"].fuse.at = at
        run(world)
        assert world.crashes == 1, at
        assert not any(device.refused for device in world.devices.values()), at
        assert [len(r["included"]) for r in world.books.records] == [4] * 2, at


@pytest.mark.parametrize("profile", PROFILES)
def test_the_aggregator_dies_around_every_commit_and_before_every_send(profile: str) -> None:
    calm = run(World(rounds=1, profile=profile))
    points = calm.fuse.count
    assert points > 60
    for at in range(points - 1):
        world = World(rounds=1, profile=profile)
        world.fuse.at = at
        run(world)
        assert world.crashes == 1, at
        assert [r["status"] for r in world.books.records] == ["closed"] * 2, at
        assert [len(r["included"]) for r in world.books.records] == [4] * 2, at


@pytest.mark.parametrize(
    ("profile", "update"), [("standard", "low-rank:1:16"), ("off", "low-rank:1:16"), ("off", "topk:0.5:8")]
)
def test_what_updates_leave_out_is_lost_by_no_crash(profile: str, update: str) -> None:
    """Model and residuals are together what was trained, wherever the power of a device or of the aggregator goes."""

    def fresh(rounds: int = 2) -> World:
        return World(rounds=rounds, profile=profile, update=update, layout=Layout((("w", (8, 4)),)))

    assert np.abs(run(fresh(rounds=1)).left_out()).max() > 0.05, "something is left out"
    calm = run(fresh())
    if not update.startswith("topk"):  # which has half of the second round's change to send, too
        assert np.abs(calm.left_out()).max() < 0.01, "and sent in the second round"
    changes = len(calm.devices["dev-01"].files.operations)
    for at in range(10, changes, 1 if FULL else 9):
        world = fresh()
        world.how = WORST
        world.devices["dev-01"].files.cut_at = at
        run(world)
        assert [len(r["included"]) for r in world.books.records] == [4] * 3, at
    for at in range(0, calm.fuse.count - 1, 1 if FULL else 31):
        world = fresh()
        world.fuse.at = at
        run(world)
        assert world.crashes == 1, at


def test_what_a_rollback_discarded_comes_back_from_no_device() -> None:
    """After a rollback to the first model, model and residuals together are the training that followed."""
    world = World(rounds=2, update="low-rank:1:16", layout=Layout((("w", (8, 4)),)))
    first = world._job().snapshot.encode()
    world.run(lambda: len(world.books.records) == 1 and world.runner is not None and not world.runner._record.closed)
    assert world.runner is not None
    assert np.abs(world.runner.job.snapshot.params).max() > 0.03
    discarded = world.left_out()
    assert np.abs(discarded).max() > 0.05, "devices hold what round 1 left out"
    state, _, _ = world.books._live.state or pytest.fail("round 1 is over")
    back = state.rolled_back(state.version + 1, digest(first))
    world.books._live.state = (back, first, b"")
    world.runner = None
    world.run()
    world._quiet()
    assert [r["status"] for r in world.books.records] == ["closed"] * 3
    numbers = [d.worker.number for d in world.devices.values()]
    once = np.average([0.1 * n for n in numbers], weights=[10 + n for n in numbers])
    left = np.frombuffer(world.runner.job.releases.residual or bytes(4 * 32), "<f4")
    assert np.allclose(world.runner.job.snapshot.params + left + world.left_out(), once, atol=0.02)


def test_everybody_dies_again_and_again() -> None:
    world = World(rounds=2)
    world.how = WORST
    for number, device in enumerate(world.devices.values()):
        device.files.cut_at = 40 + 13 * number
        device.fuse.at = 6 + number
    world.fuse.at = 25
    run(world)
    assert world.crashes >= 5


def test_no_round_begins_on_a_version_that_is_no_longer_the_newest() -> None:
    world = World(rounds=1)
    asked: list[int] = []

    def superseded(version: int) -> bool:
        asked.append(version)
        return True

    world.books.superseded = superseded  # type: ignore[method-assign]
    world.run()
    assert asked == [0]
    assert world.runner is not None
    assert world.runner.superseded
    assert not world.runner.failure
    assert world.runner.coordinator.round == 0
    assert world.books.records == []


def test_a_job_whose_statistics_nobody_can_believe_ends_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(rounds=1)
    told = Step(purpose="powers", figures={}, reason="ImplausibleStatistics", left_out=1)
    monkeypatch.setattr(Job, "closed", lambda *_: told)
    world.run()
    assert world.runner is not None
    assert "powers round" in world.runner.failure
    assert "ImplausibleStatistics" in world.runner.failure
    assert len(world.books.records) == 1
