"""What is kept beside a job that runs: what its releases left out and what led to them, nothing of older rounds."""

from pathlib import Path

import pytest
from crash_world import CLOCK, JOB
from store_world import StoreWorld

from accord.errors import UsageError
from accord.plan import Plan
from accord.tensors import Layout
from accord.update import delta
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, Offer, opened
from aggregator.desk import Desk
from aggregator.job_state import JobState
from aggregator.registry_values import Registered
from aggregator.tables import jobs, rounds
from aggregator.unit_of_work import UnitOfWork


def test_what_rounding_left_is_kept_with_the_job_and_of_older_rounds_nothing_is(tmp_path: Path) -> None:
    world = StoreWorld(tmp_path / "state", rounds=5)
    world.run()
    UnitOfWork.commit(world.work)
    assert world.runner is not None
    left = world.runner.job.releases.residual
    assert left, "eight bits leave something"
    found = world.fresh_books().state()
    assert found is not None
    assert found[2][found[0].residual] == left
    assert _neither_models_nor_bundle(world) == found[2].keys() == found[0].beside
    world.store.close()


def test_what_led_to_the_last_versions_is_kept_through_a_restart_and_goes_with_a_rollback(tmp_path: Path) -> None:
    world = StoreWorld(tmp_path / "state", rounds=4, layout=Layout((("w", (24, 24)),)), update="low-rank:2:4")
    world.run()
    UnitOfWork.commit(world.work)
    found = world.fresh_books().state()
    assert found is not None
    state, params, beside = found
    assert len(state.advances) == 4
    assert _neither_models_nor_bundle(world) == beside.keys()
    again = world._job()
    again.restore(state, params, beside)
    first = state.advances[0].base
    assert len(again.advances.since(first, state.params)) == 4
    held = world.fresh_books().older(first)
    assert held is not None
    made = delta.along(held, params, again.advances.since(first, state.params), world.layout)
    assert made is not None
    assert delta.apply(held, made, world.layout, state.params) == params
    (world.registry.blobs._path(state.advances[1].advance)).write_bytes(b"damaged")
    lost = world.fresh_books().state()
    assert lost is not None
    again.restore(*lost)
    assert again.advances.kept == state.advances[2:]
    with world.store.begin() as connection:
        desk = Desk(world.fleet.aggregator)
        old = world.registry.get(connection, JOB, 1)
        world.registry.rollback(connection, desk, old, world.fleet.roles(), "code", CLOCK)
    back = world.fresh_books().state()
    assert back is not None
    assert (back[0].params, back[0].advances, dict(back[2])) == (old.version.params, (), {})
    world.store.close()


def test_a_rollback_begins_a_line_that_every_plan_names_from_then_on(tmp_path: Path) -> None:
    world = StoreWorld(tmp_path / "state", rounds=3, update="low-rank:1:16", layout=Layout((("w", (8, 4)),)))

    def closed() -> int:
        with world.store.read() as connection:
            return len(rounds.of_job(connection, JOB))

    def plans() -> list[tuple[int, int]]:
        letters = [payload for topic, payload in world.sent["aggregator"] if topic.endswith("/down/cmd")]
        offers = [letter for letter in map(Envelope.decode, letters) if letter.tag == TAG_OF[Offer]]
        found = {Plan.decode(opened(letter, Offer).plan) for letter in offers}
        return sorted((plan.round, plan.update.line) for plan in found if plan.purpose == "train")

    world.run(lambda: closed() == 1 and world.runner is not None and not world.runner._record.closed)
    UnitOfWork.commit(world.work)
    with world.store.begin() as connection:
        first = world.registry.get(connection, JOB, 0)
        desk, roles = Desk(world.fleet.aggregator), world.fleet.roles()
        made = world.registry.rollback(connection, desk, first, roles, "0", CLOCK).version.version
    assert made == 2
    world.runner = None
    world.run(lambda: closed() == 2)
    world.runner = None  # it is kept with where the job stands
    world.run()
    UnitOfWork.commit(world.work)
    assert plans() == [(1, 0), (2, made), (3, made)]
    found = world.fresh_books().state()
    assert found is not None
    assert found[0].line == made
    world.store.close()


def test_nor_is_anything_of_older_rounds_left_by_restarts(tmp_path: Path) -> None:
    world = StoreWorld(tmp_path / "state", rounds=5)

    def closed() -> int:
        with world.store.read() as connection:
            return len(rounds.of_job(connection, JOB))

    for done in range(2, 6):
        world.run(until=lambda done=done: closed() >= done)  # type: ignore[misc]
        world.fuse.at = world.fuse.count
    world.run()
    UnitOfWork.commit(world.work)
    assert world.crashes == 4
    found = world.fresh_books().state()
    assert found is not None
    assert _neither_models_nor_bundle(world) == found[2].keys() == found[0].beside
    world.store.close()


def test_where_another_version_of_accord_left_a_job_is_refused_by_name_and_kept(tmp_path: Path) -> None:
    world = StoreWorld(tmp_path / "state", rounds=1)
    world.run()
    with world.store.begin() as connection:
        jobs.checkpoint(connection, JOB, state=b"\x8a\x01", closed=1)
    with pytest.raises(UsageError, match=f"job {JOB} stands was written by another version of Accord"):
        world.fresh_books().state()
    with world.store.read() as connection:
        assert jobs.get(connection, JOB).state == b"\x8a\x01"
    world.store.close()


def test_what_another_job_names_as_well_is_left_to_it(tmp_path: Path) -> None:
    """What only sets the scales is the same in all jobs of a bundle."""
    world = StoreWorld(tmp_path / "state", rounds=3)

    def closed() -> int:
        with world.store.read() as connection:
            return len(rounds.of_job(connection, JOB))

    world.run(until=lambda: closed() >= 2)
    UnitOfWork.commit(world.work)
    with world.store.begin() as connection:
        state = jobs.get(connection, JOB).state
        assert state is not None
        jobs.add(connection, "other", {}, CLOCK)
        jobs.checkpoint(connection, "other", state=state, closed=2)
    shared = JobState.decode(state).beside
    assert shared
    world.run()
    UnitOfWork.commit(world.work)
    found = world.fresh_books().state()
    assert found is not None
    assert not shared <= found[0].beside, "this job names others by now"
    assert _neither_models_nor_bundle(world) == shared | found[0].beside
    world.store.close()


def _neither_models_nor_bundle(world: StoreWorld) -> frozenset[bytes]:
    return world.registry.blobs.names() - {row.version.params for row in _versions(world)} - {world.bundle}


def _versions(world: StoreWorld) -> tuple[Registered, ...]:
    with world.store.read() as connection:
        return world.registry.every(connection, JOB)
