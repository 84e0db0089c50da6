"""The learning rate of each round: every plan carries its own, and a job that comes back goes on with it."""

import dataclasses
from typing import Any

import pytest

from accord.errors import UsageError
from accord.optimisers import Schedule
from aggregator.job import Job
from tests.aggregator.job_answers import SETTINGS, job


def rates(of: Job) -> list[int]:
    found = []
    while of.purpose == "train":
        request = of.request()
        assert request is not None
        found.append(request.training.learning_rate)
        of.skip()
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(), [1_000] * 6),
        (Schedule(kind="step", decay_every=2, decay_factor=0.5), [1_000, 1_000, 500, 500, 250, 250]),
        (Schedule(kind="cosine"), [1_000, 933, 750, 500, 250, 67]),
        (Schedule(kind="step", decay_every=1, decay_factor=0.01), [1_000, 10, 1, 1, 1, 1]),
    ],
)
def test_each_plan_carries_the_rate_of_its_round(schedule: Schedule, expected: list[int]) -> None:
    training = dataclasses.replace(SETTINGS.training, learning_rate=1_000)
    assert rates(job(statistics=False, rounds=6, training=training, schedule=schedule)) == expected


def test_a_job_that_comes_back_goes_on_with_the_rate_of_its_round() -> None:
    training = dataclasses.replace(SETTINGS.training, learning_rate=1_000)
    first, second = (
        job(statistics=False, rounds=6, training=training, schedule=Schedule(kind="cosine")) for _ in range(2)
    )
    first.skip()
    first.skip()
    second.restore(first.state(number=2, transcript=bytes(32), version=0), first.snapshot.encode(), first.beside)
    assert rates(second) == [750, 500, 250, 67]


def test_a_rate_of_nothing_stays_nothing_and_statistics_rounds_have_the_whole_one() -> None:
    assert Schedule(kind="cosine").rate(0, 1, 2) == 0
    training = dataclasses.replace(SETTINGS.training, learning_rate=1_000)
    request = job(rounds=6, training=training, schedule=Schedule(kind="cosine")).request()
    assert request is not None
    assert (request.purpose, request.training) == ("powers", training)


@pytest.mark.parametrize("fields", [{"kind": "hope"}, {"decay_every": 0}, {"decay_factor": 0.0}, {"decay_factor": 2.0}])
def test_impossible_schedules(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="use"):
        Schedule(**fields)
