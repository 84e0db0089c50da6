"""What is counted of a round survives the aggregator: rounds of each device, bytes, and the line that tells of it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from crash_world import BUNDLE, CLOCK, JOB, TENANT, Fuse, World
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import UsageError
from accord.link import Delivery
from accord.plan import Plan
from accord.tensors import Layout
from accord.update import delta
from accord.wire import topics
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, Beat, Offer, State, opened
from accord.wire.versions import DataSchema
from aggregator import coordinator_values as agg
from aggregator.attendance import FIGURES, NOTHING, Attendance, added
from aggregator.blobs import Blobs
from aggregator.desk import Desk
from aggregator.job_books import JobBooks
from aggregator.registry import Registry
from aggregator.registry_values import Registered
from aggregator.store import Store, database_of
from aggregator.tables import devices, jobs, lines, rounds
from aggregator.unit_of_work import UnitOfWork


class FusedWork(UnitOfWork):
    """A transaction whose process may die before it is durable, or right after."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        super().__init__(store)
        self._fuse = fuse

    def commit(self) -> None:
        self._fuse.burn()
        super().commit()
        self._fuse.burn()


class StoreWorld(World):
    """A world whose aggregator writes into a database, as the service does."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(**more)
        folder.mkdir(mode=0o700)
        self.store = Store(database_of(folder))
        self.work = FusedWork(self.store, self.fuse)
        self.registry = Registry(Blobs(folder / "blobs"))
        self.bundle = self.registry.blobs.put(BUNDLE)
        with self.store.begin() as connection:
            jobs.add(connection, JOB, {}, 1.0)
            for name in self.devices:
                devices.enrolled(connection, name, tenant=TENANT, serial=0, time=1.0)
        self.books = self.fresh_books()
        job = self._job()
        schema = DataSchema(input_shape=(3,), columns=(), task=job.task)
        self.books.begin(0, job.snapshot.encode(), schema)
        UnitOfWork.commit(self.work)

    def fresh_books(self) -> JobBooks:
        office = agg.Office(
            tenant=TENANT,
            key=self.fleet.aggregator,
            roles=self.fleet.roles(),
            roles_version=1,
            enrolment=self.fleet.enrolment.public,
            revocations=self.fleet.revocations(),
            checkpoint=self.fleet.checkpoint(),
        )

        def request() -> agg.Request | None:
            assert self.runner is not None
            return self.runner.job.request()

        return Durable(
            work=self.work,
            registry=self.registry,
            office=office,
            name=JOB,
            bundle=self.bundle,
            input_shape=(3,),
            request=request,
            clock=lambda: CLOCK,
        )

    def tell(self, fact: Mapping[str, Any]) -> None:
        super().tell(fact)
        if fact["event"] != "refused":
            self.books.line(fact)

    def start_aggregator(self) -> None:
        self.books = self.fresh_books()
        super().start_aggregator()


class Durable(JobBooks):
    """Books that lose what was not committed."""

    def crash(self) -> None:
        self._work.abandon()


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


def _neither_models_nor_bundle(world: StoreWorld) -> frozenset[bytes]:
    return world.registry.blobs.names() - {row.version.params for row in _versions(world)} - {world.bundle}


def _versions(world: StoreWorld) -> tuple[Registered, ...]:
    with world.store.read() as connection:
        return world.registry.every(connection, JOB)


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
