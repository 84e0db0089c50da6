"""Rounds of a fleet on a queue, and what silence, limits, replays and new keys make of them."""

import numpy as np
import pytest
from queue_world import World, expected_mean

from accord.plan import PROFILES, Training
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF
from accord.wire.secure_sum import Join
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("cohorts", [1, 3])
def test_rounds_follow_one_another(profile: str, cohorts: int) -> None:
    world = World(10)
    for number in (1, 2, 3):
        closed = world.run(profile=profile, cohorts=cohorts)
        assert closed is not None
        assert (closed.round, closed.attempt, len(closed.included), closed.dropped) == (number, 1, 10, ())
        assert len(closed.totals) == cohorts
        assert sum(t.figures["count"][0] for t in closed.totals) == 20
        mean = np.average([t.mean for t in closed.totals], axis=0, weights=[t.weight for t in closed.totals])
        assert np.allclose(mean, expected_mean(closed.included), atol=1e-3)
    assert not world.of(agg.Log) + world.of(dev.Refused)
    assert all(f.included for f in world.of(dev.Finished))
    assert len(world.of(dev.Charge)) == 30 + 30 + 10, (
        "participations, closed rounds, and once the version of all rounds"
    )


@pytest.mark.parametrize("letter", [1, 2, 3, 4, 5])
def test_devices_that_fall_silent_at_each_letter(letter: int) -> None:
    gone = {"dev-01", "dev-04"}
    world = World(9, mute=lambda name, n: name in gone and n == letter)
    closed = world.run()
    assert closed is not None
    inside = set(closed.included)
    assert inside == ({f"dev-{i:02d}" for i in range(9)} - (gone if letter < 5 else set())), letter
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)
    assert set(closed.recovered) == (gone if letter == 4 else set())


@pytest.mark.parametrize(
    ("profile", "letter"), [("standard", 2), ("standard", 3), ("standard", 4), ("standard", 5), ("off", 3), ("off", 4)]
)
def test_too_many_at_once_abort_by_name_and_the_rest_try_again(letter: int, profile: str) -> None:
    gone = {f"dev-{i:02d}" for i in range(5)}
    world = World(9, mute=lambda name, n: name in gone and n == letter)
    closed = world.run(profile=profile)
    reasons = [a.reason for a in world.of(agg.Aborted)]
    if letter == 2:
        assert reasons == []
        assert closed is not None
        return
    assert reasons[0] in {"TooFewShares", "TooFewVectors", "TooFewAnswers"}
    assert closed is not None
    assert closed.attempt == 2
    assert set(closed.included) == {f"dev-{i:02d}" for i in range(5, 9)}
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)


def test_two_devices_are_never_enough() -> None:
    world = World(2)
    assert world.run(devices=3) is None
    assert [a.reason for a in world.of(agg.Aborted)] == ["TooFewDevices"] * 3


def test_a_device_refuses_what_is_below_its_own_limits() -> None:
    for reason, limits, changes in [
        ("SmallCohort", {"smallest_cohort": 4}, {}),
        ("Unmasked", {"allow_unmasked": False}, {"profile": "off"}),
        ("WeakProfile", {"profile": "strict", "allow_unmasked": False}, {}),
        ("LowThreshold", {"smallest_threshold": 76}, {"floor": 4, "cap": 4}),
        (
            "TooMuchWork",
            {"max_epochs": 1},
            {"training": Training(epochs=2, batch_size=1, learning_rate=1, momentum=0, proximal=0)},
        ),
    ]:
        world = World(4, **limits)
        assert world.run(**changes) is None
        assert {r.reason for r in world.of(dev.Refused)} == {reason}


def test_replays_foreign_letters_and_noise_change_nothing() -> None:
    world = World(4)
    world.aggregator(world.start())
    letters = list(world.queue)
    seen: list[tuple[str, bytes]] = []
    while world.queue:
        to, data = world.queue.popleft()
        seen.append((to, data))
        if to.startswith("aggregator:"):
            name = to.partition(":")[2]
            for who, what in ((name, b"noise"), ("dev-09", data), (name, data[:-1] + b"?")):
                world.aggregator(agg.Arrived(device=who, data=what))
            world.aggregator(agg.Arrived(device=name, data=data))
        else:
            world.device(to, dev.Arrived(data=data[:-1] + b"?"))
            world.device(to, dev.Arrived(data=data))
    assert len(world.of(agg.Closed)) == 1
    assert len(world.of(agg.Log)) >= 3 * 4 * 5
    before = len(world.of(dev.Charge))
    for to, data in seen + letters:
        if not to.startswith("aggregator:"):
            world.device(to, dev.Arrived(data=data))
    assert len(world.of(dev.Charge)) == before
    assert not world.queue


@pytest.mark.parametrize("profile", ["standard", "strict"])
def test_a_device_that_is_enrolled_anew_while_others_join_takes_part_under_its_new_key(profile: str) -> None:
    """Its old JOIN goes: in a roster it would be verified by a key that signs no letter any more."""
    world = World(4)
    world.aggregator(world.start(profile=profile))
    held: list[tuple[str, bytes]] = []

    def until_nothing_comes() -> None:
        while world.queue:
            to, data = world.queue.popleft()
            if to.startswith("aggregator:"):
                if Envelope.decode(data).tag == TAG_OF[Join] and to.endswith("dev-02") and not held:
                    held.append((to, data))
                    continue
                world.aggregator(agg.Arrived(device=to.partition(":")[2], data=data))
            else:
                world.device(to, dev.Arrived(data=data))

    [opening] = {data for _, data in world.queue}
    until_nothing_comes()
    assert world.sessions["dev-03"].stage is dev.Stage.JOINED
    world.enrol("dev-03", serial=9)
    world.device("dev-03", dev.Arrived(data=opening))
    until_nothing_comes()
    world.queue.extend(held)
    until_nothing_comes()
    [closed] = world.of(agg.Closed)
    assert closed.included == ("dev-00", "dev-01", "dev-02", "dev-03")
    assert not world.of(agg.Log)
    assert not world.of(dev.Refused)
