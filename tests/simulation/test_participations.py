"""How often devices take part, how far they come forward when they do, and what a caller sees of each model."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import UsageError
from accord.prg import digest
from accord.update.snapshot import Snapshot
from simulation import simulate
from simulation.turns import Turns

FEW = {"model": "linear", "devices": 12, "devices_per_round": 4, "local_epochs": 1, "secure_aggregation": False}


def test_nobody_takes_part_more_often_than_asked_for() -> None:
    history = simulate("digits", rounds=9, max_participations=3, **FEW)
    # All take part in the two rounds of statistics and in the last one, which measures.
    assert [row.participations for row in history.devices] == [3 + 3] * 12
    assert all(row.participants == 4 for row in history.rounds)
    free = simulate("digits", rounds=9, **FEW)
    assert max(row.participations for row in free.devices) > 3 + 3


def test_more_rounds_than_participations_are_refused() -> None:
    with pytest.raises(UsageError, match="--max-participations 2 of 12 devices gives 24, and 9 rounds of 4 need 36"):
        simulate("digits", rounds=9, max_participations=2, **FEW)


@given(st.data())
def test_turns_always_suffice_where_they_do_in_sum(data: st.DataObject) -> None:
    devices, most, rounds = (data.draw(st.integers(1, high)) for high in (12, 5, 20))
    count = data.draw(st.integers(1, devices))
    turns = Turns(
        [f"d{at}" for at in range(devices)], most, rounds, lambda few, names: data.draw(st.permutations(names))[:few]
    )
    if rounds > most and devices * most < rounds * count:
        with pytest.raises(UsageError, match="--max-participations leaves"):
            turns.next(count)
        return
    taken = Counter(name for _ in range(rounds) for name in set(turns.next(count)))
    assert sum(taken.values()) == rounds * count
    assert max(taken.values()) <= most


def test_versions_are_counted_from_one_participation_to_the_next() -> None:
    history = simulate("digits", rounds=9, max_participations=3, **FEW)
    advanced = [row.versions_advanced for row in history.rounds]
    # All held the second of the two versions that statistics gave, or the first: each comes to round 1 with it.
    first, *later = [4 * versions for versions in advanced if versions is not None]
    assert len(later) == 8
    assert first == 4
    # Eight releases can be between two participations of one device at most.
    assert min(later) >= 4
    assert max(later) <= 4 * 9
    # Nobody goes back: in all, each device came as far as the round in which it was last seen.
    assert sum(later) + first <= 12 * 9


def test_a_caller_sees_each_model_once_and_the_last_one_is_the_result() -> None:
    seen: list[tuple[int, Snapshot]] = []
    told: list[int] = []
    history = simulate(
        "digits",
        rounds=4,
        released=lambda number, model: seen.append((number, model)),
        told=lambda row: told.append(row.round),
        **FEW,
    )
    assert [number for number, _ in seen] == told == [1, 2, 3, 4]
    assert len({model.params.tobytes() for _, model in seen}) == 4
    assert history.model_digest == digest(seen[-1][1].encode()).hex()
