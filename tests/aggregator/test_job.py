"""A job's rounds in order, and how the fixed-point scales follow what the fleet sends."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError, LocalProtocolError, UsageError
from accord.optimisers import Schedule
from accord.plan import Task, Training
from accord.prg import digest
from accord.tensors import Layout
from accord.update.pipeline import BOUNDS, POWERS, ROW_POWERS, Total
from accord.update.snapshot import Snapshot, unscaled
from accord.wire.versions import CohortRoot
from aggregator import statistics
from aggregator.coordinator_values import Closed, Request
from aggregator.job import Job, Step
from aggregator.job_settings import JobSettings
from aggregator.scales import HEADROOM, SATURATED
from aggregator.strategies.fedavg import FedAvg
from aggregator.strategies.robust import strategy

LAYOUT = Layout((("w", (2, 100)), ("b", (100,))))
CLASSES = Task(kind="classification", outputs=2, target_exponent=0, transform="none")
SETTINGS = JobSettings(
    rounds=3,
    devices=40,
    devices_per_round=10,
    cohorts=2,
    floor=3,
    training=Training(epochs=1, batch_size=8, learning_rate=1, momentum=0, proximal=0),
    task=CLASSES,
    profile="standard",
)


def job(*, statistics: bool = True, **changes: Any) -> Job:
    return Job(
        settings=dataclasses.replace(SETTINGS, **changes),
        layout=LAYOUT,
        exponents=(-3, -5),
        snapshot=Snapshot(params=np.zeros(LAYOUT.size, np.float32), scaling=unscaled(2)),
        columns=2,
        strategy=FedAvg(),
        statistics=statistics,
    )


def closed(*totals: Total, devices: int = 10) -> Closed:
    names = tuple(f"dev-{i}" for i in range(devices))
    return Closed(
        round=1,
        attempt=1,
        plan_digest=bytes(32),
        previous=bytes(32),
        transcript=bytes(32),
        cohorts=(),
        totals=totals,
        included=names,
        dropped=(),
        recovered=(),
        lost_cohorts=(),
    )


def trained(w: float, b: float, *, saturated: int = 0, weight: int = 10) -> Total:
    mean = np.concatenate([np.full(200, w), np.full(100, b)]).astype(np.float32)
    figures = {"count": [4.0], "loss": [2.0], "correct": [3.0]}
    return Total(figures=figures, mean=mean, weight=weight, saturated=saturated)


def exponents(of: Job) -> tuple[int, ...]:
    request = of.request()
    assert request is not None
    return request.fixed.exponents


def powers(columns: int, power: int, rows: int) -> Total:
    histogram = np.zeros((columns, POWERS))
    histogram[:, BOUNDS.index(power) + 1] = 1_000  # the first bin is for zeros
    counts = np.zeros(ROW_POWERS)
    counts[rows.bit_length()] = 10
    return Total(figures={"count": [1_000.0], "powers": histogram.ravel().tolist(), "rows": counts.tolist()})


def moments(columns: int) -> Total:
    figures = {name: [250.0] * columns for name in ("positive", "squared")}
    return Total(figures={"count": [1_000.0], "negative": [0.0] * columns, **figures})


def test_purposes_in_order_and_who_is_asked() -> None:
    one = job()
    asked = []
    answers = {"powers": powers(2, 3, 100), "moments": moments(2), "train": trained(0.1, 0.1)}
    while (request := one.request()) is not None:
        asked.append((request.purpose, request.devices, request.cohorts, request.length))
        one.closed(closed(answers.get(request.purpose, trained(0, 0))))
    assert asked == [
        ("powers", 40, 1, 2),
        ("moments", 40, 1, 2),
        *[("train", 10, 2, LAYOUT.size)] * 3,
        ("evaluate", 40, 1, 0),
    ]
    assert one.purpose is None
    with pytest.raises(LocalProtocolError, match="no round left"):
        one.closed(closed(trained(0, 0)))


def test_without_statistics_training_comes_first() -> None:
    one = job(statistics=False, rounds=1)
    assert one.purpose == "train"
    one.skip()
    assert one.purpose == "evaluate"
    with pytest.raises(LocalProtocolError, match="only a training round"):
        one.skip()
    one.closed(closed(trained(0, 0)))
    assert one.request() is None


def test_more_than_a_hundred_devices_are_asked_in_cohorts() -> None:
    request = job(devices=250).request()
    assert request is not None
    assert (request.devices, request.cohorts) == (250, 3)
    assert request.fixed.modulus_bits >= request.fixed.value_bits + 7


def test_statistics_bound_columns_rows_and_targets() -> None:
    regression = Task(kind="regression", outputs=1, target_exponent=0, transform="none")
    one = job(task=regression)
    first = one.request()
    assert first is not None
    assert first.length == 4, "two columns, and the target transformed and as it is"
    step = one.closed(closed(powers(4, 5, 300)))
    assert (step.purpose, step.snapshot) == ("powers", None)
    assert one.largest_weight == 512, "the power of two above 300"
    second = one.request()
    assert second is not None
    assert second.fixed.exponents == (5, 5, 5, 5)
    scaling = one.closed(closed(moments(4))).snapshot
    assert scaling is not None
    assert one.task.target_exponent == 4, "the power of two above the targets' deviation of 13.9"
    assert np.allclose(scaling.scaling.mean, 0.25 * 32)
    assert np.allclose(1 / scaling.scaling.factor, np.sqrt(0.25 - 0.0625) * 32)


def stepped(one: Job, *totals: Total, devices: int = 10) -> Step:
    return one.closed(closed(*totals, devices=devices))


def test_scales_follow_the_aggregate_down_by_one_and_up_at_once() -> None:
    one = job(statistics=False, rounds=10)
    assert exponents(one) == (-3, -5)
    stepped(one, trained(1e-6, 1e-6))
    assert exponents(one) == (-4, -6), "one step down at most"
    stepped(one, trained(3.0, 0.0))
    assert exponents(one) == (5, -6), "3 times the headroom is below 2^5; nothing moved: the scale stays"
    assert 2**4 < 3.0 * HEADROOM <= 2**5


def test_more_than_a_thousandth_of_cut_values_doubles_every_scale() -> None:
    """300 values of 10 devices: 3 cut ones are a thousandth, 4 are more."""
    for cut, doubled in ((3, False), (4, True)):
        one = job(statistics=False)
        step = stepped(one, trained(1e-6, 1e-6, saturated=cut))
        assert step.saturated == cut / (LAYOUT.size * 10)
        assert (step.saturated > SATURATED) is step.doubled is doubled
        assert exponents(one) == ((-2, -4) if doubled else (-4, -6))


def test_cut_values_of_several_cohorts_are_added() -> None:
    one = job(statistics=False)
    step = stepped(one, trained(1e-6, 1e-6, saturated=2), trained(1e-6, 1e-6, saturated=2))
    assert step.doubled
    assert step.figures["count"] == [8.0]


@pytest.mark.parametrize("merge", ["median", "trimmed"])
def test_one_cohort_that_lies_about_cut_values_does_not_widen_the_scales_of_a_robust_merge(merge: str) -> None:
    one = job(statistics=False)
    one._strategy = strategy(merge, 3.0)
    honest = [trained(1e-6, 1e-6) for _ in range(6)]
    step = stepped(one, *honest, trained(1e-6, 1e-6, saturated=2**31))
    assert not step.doubled
    assert exponents(one) == (-4, -6)
    assert stepped(one, *[trained(1e-6, 1e-6, saturated=100)] * 7).doubled, "what most cohorts say is believed"


@given(st.lists(st.tuples(st.floats(-1, 1, width=32), st.integers(1, 10_000)), min_size=1, max_size=5))
def test_cohort_means_weigh_by_rows(parts: list[tuple[float, int]]) -> None:
    one = job(statistics=False, release_bits=24)
    stepped(one, *(trained(w, -w, weight=weight) for w, weight in parts))
    expected = np.average([w for w, _ in parts], weights=[weight for _, weight in parts])
    assert np.allclose(one.snapshot.params[:200], expected, atol=1e-6)
    assert np.allclose(one.snapshot.params[200:], -expected, atol=1e-6)


def test_a_job_that_can_not_be_run_says_what_is_needed() -> None:
    for changes, says in (
        ({"rounds": 0}, "at least 1 round"),
        ({"devices_per_round": 41}, "41 of 40 devices"),
        ({"devices_per_round": 2}, "3 devices are needed"),
        ({"cohorts": 4}, "need 12 devices per round"),
        ({"cohorts": 0}, "cohorts"),
        ({"devices": 101, "devices_per_round": 60, "floor": 60, "cohorts": 1}, "ask all 101 devices"),
        ({"devices": 30, "preset": "sites"}, "ask all 30 devices: a federation of sites"),
    ):
        with pytest.raises(UsageError, match=says):
            job(**changes)


@pytest.mark.parametrize(
    ("changes", "profile", "why"),
    [
        ({"profile": "auto"}, "strict", "it is feasible: a cohort of 40 closes without 13 of them"),
        ({"profile": "auto", "dropout": 0.2}, "standard", "strict would not do: .* rounds without a sum"),
        ({"profile": "auto", "complete_up_to": 20}, "standard", "complete_up_to = 20"),
        ({"profile": "auto", "devices": 5, "preset": "sites"}, "strict", "without 1 of them"),
        ({"profile": "strict"}, "strict", "asked for"),
        ({"profile": "standard"}, "standard", "asked for"),
        ({"profile": "off"}, "off", "secure_aggregation is false"),
    ],
)
def test_one_profile_holds_for_all_rounds_of_a_job(changes: dict[str, Any], profile: str, why: str) -> None:
    """Rounds that ask everybody and training rounds have the same profile, and its reason can be told."""
    devices = changes.get("devices", 40)
    one = job(**{"devices_per_round": devices, "cohorts": 1, **changes})
    settings = one.settings
    assert settings.secured.profile == profile
    assert re.search(why, settings.secured.why)
    while (request := one.request()) is not None and one.purpose != "train":
        assert request.profile == profile
        stepped(one, powers(2, 3, 100) if one.purpose == "powers" else moments(2))
    assert request is not None
    assert request.profile == profile
    assert profile != "strict" or request.cap <= settings.complete_up_to


def test_strict_is_not_run_where_the_graph_would_be_sparse() -> None:
    with pytest.raises(UsageError, match="complete_up_to = 20 members, and a cohort would have 40"):
        job(profile="strict", complete_up_to=20, devices_per_round=40, cohorts=1)


def test_a_job_goes_on_from_its_state_and_from_no_other() -> None:
    one = job()
    stepped(one, powers(2, 3, 100))
    stepped(one, moments(2))
    stepped(one, trained(0.5, 0.25, saturated=1_000))
    state = one.state(number=3, transcript=bytes(32), version=2)
    again = job()
    again.restore(state, one.snapshot.encode(), one.releases.residual)
    assert again.request() == one.request()
    assert again.state(number=3, transcript=bytes(32), version=2) == state
    stepped(one, trained(0.1, 0.3))
    stepped(again, trained(0.1, 0.3))
    assert digest(again.snapshot.encode()) == digest(one.snapshot.encode())
    assert one.releases.residual, "what rounding left is part of where it stood"
    with pytest.raises(CodecError, match="another job"):
        job(rounds=1, statistics=False).restore(dataclasses.replace(state, done=9), one.snapshot.encode(), b"")


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
    second.restore(
        first.state(number=2, transcript=bytes(32), version=0), first.snapshot.encode(), first.releases.residual
    )
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
    step = one.closed(closed(*[trained(0.01, 0.01)] * 4))
    assert (step.snapshot, step.reason) == (None, "TooFewCohorts")
    assert one.purpose == "train", "the next round is another one"
    assert not one.snapshot.params.any()


def test_dropouts_invite_more_and_what_would_end_too_many_rounds_is_refused() -> None:
    def asked(**changes: Any) -> Request:
        one = job(statistics=False, devices=200, devices_per_round=64, cohorts=1, floor=43, **changes)
        request = one.request()
        assert request is not None
        return request

    calm, stormy = asked(), asked(dropout=0.3)
    assert calm.devices == 64
    assert stormy.devices == 80
    assert stormy.cap >= 80
    with pytest.raises(UsageError, match="rounds without a sum"):
        job(devices=64, devices_per_round=64, cohorts=1, floor=43, dropout=0.3)


def test_large_cohorts_get_a_sparse_graph_and_sites_are_waited_for() -> None:
    large = {"devices": 1_000, "devices_per_round": 1_000, "cohorts": 1, "largest_cohort": 1_000}
    with pytest.raises(UsageError, match="one honest device alone: set a floor"):
        job(statistics=False, **large)
    request = job(statistics=False, floor=200, **large).request()
    assert request is not None
    assert (request.cohorts, request.cap, request.graph.complete_up_to) == (1, 1_000, 100)
    assert not request.waits_for_all
    request = job(statistics=False, devices=4, devices_per_round=4, cohorts=1, preset="sites").request()
    assert request is not None
    assert request.waits_for_all


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
