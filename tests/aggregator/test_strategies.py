"""What cohort means become: the plain mean believes everybody, median and trimmed mean do not."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import UsageError
from accord.secagg.planner import tolerated
from aggregator.strategies.fedavg import FedAvg
from aggregator.strategies.robust import RobustMerge, strategy

Vectors = list[npt.NDArray[np.float32]]
SIZE, COHORTS, BAD = 500, 7, 2
WEIGHTS = [100] * COHORTS


def honest(rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], Vectors]:
    """The change that all devices would make, and seven cohorts' means around it."""
    true = rng.normal(size=SIZE).astype(np.float32)
    return true, [(true + 0.3 * rng.normal(size=SIZE)).astype(np.float32) for _ in range(COHORTS)]


def sign_flip(rng: np.random.Generator, mean: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return -2 * mean  # within the norm gate: only the merge can help


def scaled_noise(rng: np.random.Generator, mean: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (50 * rng.normal(size=mean.size)).astype(np.float32)


def off_by(true: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


@pytest.mark.parametrize("attack", [sign_flip, scaled_noise])
@pytest.mark.parametrize("merge", ["median", "trimmed"])
def test_two_of_seven_poisoned_cohorts_do_not_move_the_model(merge: str, attack: Callable[..., object]) -> None:
    rng = np.random.default_rng(3)
    true, means = honest(rng)
    for place in (1, 4):
        means[place] = attack(rng, means[place])
    assert tolerated(merge, COHORTS) >= BAD
    merged = RobustMerge(merge=merge).change(means, WEIGHTS)
    assert off_by(true, merged.vector) < 0.3
    assert off_by(true, FedAvg().change(means, WEIGHTS).vector) > 0.7
    assert merged.shortened == ((1, 4) if attack is scaled_noise else ())


@pytest.mark.parametrize("merge", ["median", "trimmed"])
def test_without_anybody_bad_the_merges_agree(merge: str) -> None:
    true, means = honest(np.random.default_rng(4))
    plain = off_by(true, FedAvg().change(means, WEIGHTS).vector)
    assert off_by(true, RobustMerge(merge=merge).change(means, WEIGHTS).vector) < 1.5 * plain


def test_the_gate_names_the_cohort_that_it_shortens() -> None:
    rng = np.random.default_rng(5)
    true, means = honest(rng)
    means[0] = scaled_noise(rng, means[0])
    gated = RobustMerge(merge="trimmed", norm_gate=3).change(means, WEIGHTS)
    assert gated.shortened == (0,)
    assert RobustMerge(merge="trimmed", norm_gate=0).change(means, WEIGHTS).shortened == ()
    assert off_by(true, gated.vector) < 0.3


@given(
    st.sampled_from(["median", "trimmed"]),
    st.integers(5, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), unique=True))),
    st.floats(-1e6, 1e6),
)
def test_as_many_bad_cohorts_as_are_tolerated_stay_within_the_honest(
    merge: str, deal: tuple[int, Sequence[int]], lie: float
) -> None:
    cohorts, chosen = deal
    bad = list(chosen)[: tolerated(merge, cohorts)]
    means: Vectors = [np.full(3, float(at % 5) + 1, np.float32) for at in range(cohorts)]
    good = [means[at][0] for at in range(cohorts) if at not in bad]
    for place in bad:
        means[place] = np.full(3, lie, np.float32)
    for gate in (0.0, 3.0):
        found = RobustMerge(merge=merge, norm_gate=gate).change(means, [1] * cohorts).vector
        assert min(good) - 1e-3 <= found[0] <= max(good) + 1e-3


def test_more_bad_cohorts_than_tolerated_do_move_it() -> None:
    means: Vectors = [np.full(3, 1, np.float32)] * 3 + [np.full(3, -2, np.float32)] * 4
    assert RobustMerge(merge="median").change(means, WEIGHTS).vector[0] == -2


@pytest.mark.parametrize(("merge", "gate"), [("mean", 2.0), ("best", 3.0), ("median", 0.5), ("median", -1.0)])
def test_settings_that_are_none(merge: str, gate: float) -> None:
    with pytest.raises(UsageError):
        RobustMerge(merge=merge, norm_gate=gate)


def test_a_job_names_its_strategy() -> None:
    assert strategy("mean", 3.0) == FedAvg()
    assert strategy("median", 2.0) == RobustMerge(merge="median", norm_gate=2.0)
