"""A job that merges cohorts robustly: what lying cohorts move, and what is left out before the merge."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import UsageError
from accord.update.pipeline import BOUNDS, ROW_POWERS, Total
from accord.update.snapshot import Snapshot, unscaled
from accord.wire.versions import CohortRoot
from aggregator import statistics
from aggregator.job import Job
from aggregator.strategies.robust import strategy
from tests.aggregator.job_answers import LAYOUT, SETTINGS, closed, exponents, job, powers, trained


def test_a_robust_job_needs_five_cohorts_and_says_what_is_left() -> None:
    with pytest.raises(UsageError, match=r"at least 5 cohorts, not 2.*What is left"):
        job(merge="median")


def robust() -> Job:
    """Seven cohorts of three, merged by their median."""
    return Job(
        settings=dataclasses.replace(SETTINGS, devices_per_round=21, cohorts=7, merge="median", release_bits=24),
        layout=LAYOUT,
        exponents=(-3, -5),
        snapshot=Snapshot(params=np.zeros(LAYOUT.size, np.float32), scaling=unscaled(2)),
        columns=2,
        strategy=strategy("median", 3.0),
        statistics=False,
    )


def test_a_poisoned_cohort_moves_neither_the_model_nor_its_scales() -> None:
    one, roots = robust(), tuple(CohortRoot(name=f"c{i}", root=bytes(32), survivors=b"\x07") for i in range(7))
    totals = [trained(0.01, 0.01)] * 5 + [trained(-1000, 1000)] * 2
    step = one.closed(dataclasses.replace(closed(*totals, devices=21), cohorts=roots))
    assert step.snapshot is not None
    assert np.allclose(step.snapshot.params, 0.01)
    assert step.shortened == ("c5", "c6")
    assert max(exponents(one)) <= -3, "the scales follow what was merged"


def test_a_round_that_lost_too_many_cohorts_leaves_the_model_as_it_is() -> None:
    one = robust()
    request = one.request()
    assert request is not None
    assert request.fewest_cohorts == 5, "so that devices are told the same"
    step = one.closed(closed(*[trained(0.01, 0.01)] * 4))
    assert (step.snapshot, step.reason) == (None, "TooFewCohorts")
    assert one.purpose == "train", "the next round is another one"
    assert not one.snapshot.params.any()


def counted(power: int, rows: int, *, mean: float = 0.25, square: float = 0.25) -> tuple[Total, Total]:
    """What one honest cohort says in both statistics rounds."""
    figures = {
        "positive": [1_000 * mean] * 2,
        "negative": [0.0] * 2,
        "squared": [1_000 * square] * 2,
        "count": [1_000.0],
    }
    return powers(2, power, rows), Total(figures=figures)


def statistical(merge: str, cohorts: int) -> Job:
    return Job(
        settings=dataclasses.replace(SETTINGS, devices_per_round=3 * cohorts, cohorts=cohorts, merge=merge),
        layout=LAYOUT,
        exponents=(-3, -5),
        snapshot=Snapshot(params=np.zeros(LAYOUT.size, np.float32), scaling=unscaled(2)),
        columns=2,
        strategy=strategy(merge, 3.0),
    )


def lies() -> tuple[Total, Total]:
    """What a cohort with one liar says: its columns are huge, its rows too, and its many rows lie far off."""
    first, _ = counted(128, 2**29)
    figures = {"positive": [2.0**31] * 2, "negative": [0.0] * 2, "squared": [2.0**31] * 2, "count": [2.0**32]}
    return first, Total(figures=figures)


@pytest.mark.parametrize(("merge", "moved"), [("median", False), ("trimmed", False), ("mean", True)])
def test_two_lying_cohorts_of_seven_do_not_spoil_the_scaling_of_a_robust_job(merge: str, moved: bool) -> None:
    one, honest, lie = statistical(merge, 7), counted(3, 100), lies()
    asked = one.request()
    assert asked is not None
    assert asked.cohorts == (1 if merge == "mean" else 7), "as many cohorts as a merge of changes has"
    one.closed(closed(*[honest[0]] * 5, *[lie[0]] * 2))
    assert (one.largest_weight > 128) is moved
    step = one.closed(closed(*[honest[1]] * 5, *[lie[1]] * 2))
    assert step.snapshot is not None
    assert np.allclose(step.snapshot.scaling.mean, 0.25 * 8) is not moved
    assert np.allclose(1 / step.snapshot.scaling.factor, np.sqrt(0.1875) * 8) is not moved
    assert step.left_out == 0, "nothing that it said is impossible"


IMPOSSIBLE = [
    {"squared": [300.0, 250.0]},  # |x| <= 1, so squares are no more than magnitudes
    {"positive": [1_001.0, 250.0]},  # nor these than rows
    {"negative": [900.0, 0.0]},
    {"squared": [62.0, 250.0]},  # a mean of a quarter has squares of a sixteenth at least
]


@pytest.mark.parametrize("changes", IMPOSSIBLE)
def test_a_cohort_whose_moments_no_rows_can_have_is_left_out(changes: dict[str, list[float]]) -> None:
    one, honest = statistical("mean", 2), counted(3, 100)
    one.closed(closed(honest[0]))
    bad = Total(figures=honest[1].figures | changes)
    step = one.closed(closed(honest[1], bad))
    assert step.left_out == 1
    assert step.snapshot is not None
    assert np.allclose(step.snapshot.scaling.mean, 0.25 * 8)


def test_more_sizes_than_devices_or_fewer_values_in_a_column_are_left_out_and_named() -> None:
    """A cohort of three tells of ten devices' rows, or of a value that fell into no bin: nobody else is left."""
    three = (CohortRoot(name="c1", root=bytes(32), survivors=b"\x07"),)
    crowd = powers(2, 3, 100)
    told = [10.0 if size else 0.0 for size in crowd.figures["rows"]]
    assert sum(told) > 3
    lacking = Total(figures=powers(2, 3, 100).figures | {"rows": [3.0] + [0.0] * (ROW_POWERS - 1)})
    lacking.figures["powers"][BOUNDS.index(3) + 1] -= 1  # type: ignore[index]
    for bad in (crowd, lacking):
        one = statistical("mean", 2)
        step = one.closed(dataclasses.replace(closed(bad), cohorts=three))
        assert (step.snapshot, step.reason, step.left_out) == (None, "ImplausibleStatistics", 1)
        assert one.purpose == "powers", "without statistics the job does not go on"
    robust = statistical("median", 7)
    assert robust.closed(closed(*[counted(3, 100)[0]] * 4)).reason == "TooFewCohorts"


@given(
    st.lists(
        st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30),
        min_size=1,
        max_size=6,
    )
)
def test_honest_moments_are_always_plausible(devices: list[list[float]]) -> None:
    """Each device rounds its own sums to 2^-40; what they add up to is never taken for a lie."""
    step = 2.0**-40
    figures = {
        "count": [float(sum(map(len, devices)))],
        "positive": [sum(round(sum(max(x, 0) for x in rows) / step) * step for rows in devices)],
        "negative": [sum(round(sum(max(-x, 0) for x in rows) / step) * step for rows in devices)],
        "squared": [sum(round(sum(x * x for x in rows) / step) * step for rows in devices)],
    }
    assert statistics.plausible(figures, "moments")
