"""What is counted of a round survives the aggregator: rounds of each device, bytes, and the line that tells of it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_world import JOB, TENANT, World
from hypothesis import given
from hypothesis import strategies as st
from store_world import StoreWorld

from accord.link import Delivery
from accord.wire import topics
from accord.wire.messages import Beat, State
from aggregator.attendance import FIGURES, NOTHING, Attendance, added
from aggregator.tables import devices, lines, rounds
from aggregator.unit_of_work import UnitOfWork


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Any]:
    made: list[StoreWorld] = []

    def make() -> StoreWorld:
        made.append(StoreWorld(tmp_path / str(len(made)), rounds=1))
        return made[-1]

    yield make
    for world in made:
        world.work.abandon()
        world.store.close()


def test_every_round_is_counted_and_told_once_wherever_the_aggregator_dies(worlds: Any) -> None:
    calm = worlds()
    calm.run()
    assert calm.crashes == 0
    acts = calm.fuse.count
    assert acts > 30
    for at in (*range(0, acts - 8, 7), *range(acts - 8, acts - 1)):  # the end of the last round in every place
        world = worlds()
        world.fuse.at = at
        world.run()
        UnitOfWork.commit(world.work)
        assert world.crashes == 1, at
        with world.store.read() as connection:
            found = rounds.of_job(connection, JOB)
            counted = {row.name: row.rounds for row in devices.every(connection)}
            said = [line.record for line in lines.last(connection, JOB, 1_000)]
        taken = Counter(name for row in found for name in row.record["included"])
        assert counted == dict(taken), at
        assert [record["round"] for record in said if record["event"] == "round"] == [1, 2], at
        assert all(row.record["bytes_at_least"] in (True, False) and "whole" not in row.record for row in found)


def beat(world: World, name: str, figures: int) -> None:
    payload = Beat(**dict.fromkeys(FIGURES, figures)).encode()
    world.devices[name].link.publish(topics.up(TENANT, name, "beat"), payload, qos=0)


def test_a_round_says_how_many_bytes_it_carried() -> None:
    world = World(rounds=1)
    world.run(until=lambda: len(world.letters("dev-00", "share/2")) == 1)
    beat(world, "dev-00", 100)
    beat(world, "dev-01", 30)
    world.run()
    first, second = world.books.records
    assert first["bytes"] == dict.fromkeys(FIGURES, 130) | {"control_up": 0, "control_down": 0}
    nothing = dict.fromkeys(first["bytes"], 0)
    assert {name: found["bytes_up"] for name, found in first["bytes_of"].items()} == {
        "dev-00": 100,
        "dev-01": 30,
        "dev-02": 0,
        "dev-03": 0,
    }
    assert not first["bytes_at_least"]
    assert second["bytes"] == nothing


def test_what_was_known_before_the_aggregator_died_is_kept_and_the_round_says_at_least() -> None:
    calm = World(rounds=1)
    calm.run()
    kept = 0
    for at in range(0, calm.fuse.count, 3):
        world = World(rounds=1)
        world.run(until=lambda w=world: len(w.letters("dev-00", "share/2")) == 1)
        beat(world, "dev-00", 100)
        world.fuse.at = world.fuse.count + at
        world.run()
        (first, *_), crashed = world.books.records, world.crashes
        assert first["bytes"]["bytes_up"] in (0, 100), at
        if first["bytes"]["bytes_up"] == 0:
            assert first["bytes_at_least"], "what is missing is said to be"
        kept += bool(crashed and first["bytes_at_least"] and first["bytes"]["bytes_up"] == 100)
    assert kept > 3, "a kill in the middle of the round loses nothing that was written with a letter"


def test_after_a_restart_a_connection_that_stands_counts_from_its_next_heartbeat() -> None:
    before, after = Attendance(), Attendance({"dev-00": 5, "dev-01": 5})
    for attendance in (before, after):
        for name, birth in (("dev-00", 5), ("dev-01", 6), ("dev-02", 1)):
            attendance.state(name, State(online=True, birth=birth, job=JOB))
            attendance.beat(name, Beat(**dict.fromkeys(FIGURES, 1_000)))
    assert after.traffic(JOB) == {"dev-00": NOTHING, "dev-01": (1_000,) * 4, "dev-02": (1_000,) * 4}
    after.beat("dev-00", Beat(**dict.fromkeys(FIGURES, 1_250)))
    assert after.traffic(JOB)["dev-00"] == (250,) * 4
    assert after.devices["dev-00"].not_noted() == (250, 250), "what the store has counted is not counted again"
    assert before.devices["dev-00"].not_noted() == (1_000, 1_000)
    after.state("dev-00", State(online=True, birth=7, job=JOB))
    after.beat("dev-00", Beat(**dict.fromkeys(FIGURES, 10)))
    assert after.traffic(JOB)["dev-00"] == (260,) * 4
    assert after.traffic("another") == {}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.booleans()), max_size=30), st.data())
def test_a_measurement_with_a_restart_is_never_above_the_truth(steps: list[tuple[str, int, bool]], data: Any) -> None:
    """Each step carries some bytes, and may be followed by a heartbeat; the aggregator is restarted at one of them."""
    restart = data.draw(st.integers(0, len(steps)))
    attendance, totals, births = Attendance(), {"a": 0, "b": 0}, {"a": 1, "b": 1}
    for name in "ab":
        attendance.state(name, State(online=True, birth=1, job=JOB))
    known, start = NOTHING, attendance.traffic(JOB)
    for number, (name, count, beats) in enumerate(steps):
        if number == restart:
            known = added(known, start, attendance.traffic(JOB))
            attendance = Attendance(births)
            for device in "ab":
                attendance.state(device, State(online=True, birth=1, job=JOB))
            start = attendance.traffic(JOB)
        totals[name] += count
        if beats:
            attendance.beat(name, Beat(**dict.fromkeys(FIGURES, totals[name])))
    (up, *_) = added(known, start, attendance.traffic(JOB))
    assert 0 <= up <= sum(totals.values())


def test_deliveries_of_heartbeats_reach_the_round_of_their_own_job() -> None:
    world = World(rounds=1)
    world.run(until=lambda: len(world.letters("dev-00", "share/2")) == 1)
    assert world.runner is not None
    attendance = world.runner.transport.attendance
    attendance.state("other-0", State(online=True, birth=1, job="k"))
    payload = Beat(**dict.fromkeys(FIGURES, 9_999)).encode()
    world.runner.transport.handle(Delivery(topic=topics.up(TENANT, "other-0", "beat"), payload=payload))
    beat(world, "dev-00", 7)
    world.run()
    assert world.books.records[0]["bytes"] == dict.fromkeys(FIGURES, 7) | {"control_up": 0, "control_down": 0}
