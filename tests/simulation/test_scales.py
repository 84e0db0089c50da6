"""Features and targets of any scale: what a fleet learns does not depend on the units that people chose."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from accord.errors import UsageError
from simulation import simulate
from simulation.datasets import Dataset
from simulation.history import History

ROWS, TEST = 300, 90
Reals = npt.NDArray[np.float64]


def _data(x: Reals, y: npt.NDArray[np.generic]) -> Dataset:
    owner = np.arange(ROWS + TEST) % 6
    values = x.astype(np.float32)
    return Dataset(
        name="scaled",
        x_train=values[:ROWS], y_train=y[:ROWS], c_train=owner[:ROWS],
        x_test=values[ROWS:], y_test=y[ROWS:], c_test=owner[ROWS:],
    )  # fmt: skip


def _drawn() -> tuple[Reals, Reals]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS + TEST, 5))
    return x, x @ rng.normal(size=5)


def _run(data: Dataset) -> History:
    return simulate(data, model="mlp:8", rounds=8)


@pytest.mark.parametrize(
    ("factor", "offset"),
    [
        (np.array([1e-20, 1e-10, 1, 1e10, 1e20]), 0.0),
        (np.array([1e-30, 1e-25, 1, 1e25, 1e30]), 0.0),
        (np.ones(5), 1e4),
        (np.array([1.0, 2.0, 1.0, 1.0, 1.0]), 3e5),
    ],
)
def test_units_of_features_do_not_matter(factor: Reals, offset: float) -> None:
    x, y = _drawn()
    plain, scaled = (_run(_data(v, (y > 0).astype(np.int64))).final for v in (x, x * factor + offset))
    assert plain.auroc is not None
    assert scaled.auroc == pytest.approx(plain.auroc, abs=0.01)
    assert scaled.loss == pytest.approx(plain.loss, abs=0.02)


@pytest.mark.parametrize(("factor", "offset"), [(1e15, 0.0), (1e-15, 0.0), (1e20, 0.0), (1.0, 1e5), (1.0, -1e6)])
def test_units_of_targets_do_not_matter(factor: float, offset: float) -> None:
    x, y = _drawn()
    plain, scaled = _run(_data(x, y)), _run(_data(x, y * factor + offset))
    assert plain.final.r2 is not None
    assert plain.final.r2 > 0.9
    assert scaled.final.r2 == pytest.approx(plain.final.r2, abs=0.01)
    assert scaled.final.mae == pytest.approx((plain.final.mae or 0) * factor, rel=0.05)
    last = scaled.rounds[-1].evaluation
    # The tail of the last round is over the same rows as the pooled test.
    assert last.mae == pytest.approx(scaled.final.mae, rel=0.01)
    assert last.loss == pytest.approx(scaled.final.loss, rel=0.01)
    assert last.r2 == pytest.approx(scaled.final.r2, abs=0.01)


def test_constant_and_vanishing_columns_change_nothing() -> None:
    x, y = _drawn()
    labels = (y > 0).astype(np.int64)
    without = x.copy()
    without[:, 1:3] = 0
    dull = without.copy()
    dull[:, 1], dull[:, 2] = 3.1, without[:, 0] * 1e-40
    plain, other = (_run(_data(v, labels)).final for v in (without, dull))
    assert other.auroc == pytest.approx(plain.auroc, abs=0.01)


def test_a_transform_that_the_targets_do_not_allow_is_refused_at_once() -> None:
    x, y = _drawn()
    with pytest.raises(UsageError, match="log needs targets above 0, and there is -"):
        simulate(_data(x, y), target_transform="log")
    positive = _data(x, np.exp(y))
    bad = replace(positive, y_test=np.where(np.arange(TEST) == 4, 0.0, positive.y_test))
    with pytest.raises(UsageError, match="and there is 0"):
        simulate(bad, target_transform="log")
