"""A job's rounds in order: who is asked for what, what can't be run, and how it goes on from its state."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError, LocalProtocolError, UsageError
from accord.plan import Task
from accord.prg import digest
from aggregator.coordinator_values import Request
from tests.aggregator.job_answers import LAYOUT, closed, job, moments, powers, stepped, trained


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
    bundled = digest(one.snapshot.encode())
    stepped(one, powers(2, 3, 100))
    stepped(one, moments(2))
    stepped(one, trained(0.5, 0.25, saturated=1_000))
    assert len(one.advances.since(bundled, digest(one.snapshot.encode()))) == 2, "what sets the scales is a link, too"
    state = one.state(number=3, transcript=bytes(32), version=2)
    again = job()
    again.restore(state, one.snapshot.encode(), one.beside)
    assert again.request() == one.request()
    assert again.state(number=3, transcript=bytes(32), version=2) == state
    stepped(one, trained(0.1, 0.3))
    stepped(again, trained(0.1, 0.3))
    assert digest(again.snapshot.encode()) == digest(one.snapshot.encode())
    assert one.releases.residual, "what rounding left is part of where it stood"
    with pytest.raises(CodecError, match="another job"):
        job(rounds=1, statistics=False).restore(dataclasses.replace(state, done=9), one.snapshot.encode(), {})


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
