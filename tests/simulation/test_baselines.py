"""The baselines learn, weigh devices by rows, and draw the same numbers for the same seed."""

from typing import Any

import numpy as np
import pytest

from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.runtimes import reference
from simulation.baselines import Curve, Point, Training, centralized, fedavg, standardised
from simulation.datasets import load
from simulation.metrics import Evaluation
from simulation.partition import DeviceData, deal, parse_scheme

CLOCK = iter(range(10**9)).__next__


class Softmax:
    """Multinomial logistic regression on 64 features."""

    def __init__(self, features: int = 64, classes: int = 10) -> None:
        self.shape = (features + 1, classes)

    def predict(self, params: Any, x: Any) -> Any:
        weights = params.reshape(self.shape)
        return x @ weights[:-1] + weights[-1]

    def gradients(self, params: Any, x: Any, y: Any, out: Any = None) -> tuple[float, Any]:
        logits = self.predict(params, x)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(len(y)), y]).mean()
        p[np.arange(len(y)), y] -= 1
        gradient = np.concatenate([x.T @ p, p.sum(axis=0, keepdims=True)]).ravel() / len(y)
        out = np.empty_like(params) if out is None else out
        out[:] = gradient
        return float(loss), out


class Mean:
    """One parameter, whose loss is half its squared distance from y: SGD with rate 1 jumps onto the batch's mean."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def predict(self, params: Any, x: Any) -> Any:
        return np.broadcast_to(params, (len(x), 1))

    def gradients(self, params: Any, x: Any, y: Any, out: Any = None) -> tuple[float, Any]:
        self.seen.append(len(y))
        return 0.0, (params - y.mean()).astype(np.float32)


START = np.zeros(650, np.float32)


def device(name: str, *targets: float) -> DeviceData:
    y = np.array(targets)
    x = np.zeros((len(y), 1), np.float32)
    return DeviceData(device=name, x_train=x, y_train=y, x_test=x[:1], y_test=y[:1])


def test_both_learn_the_digits_and_fedavg_comes_close_to_the_centralized_model() -> None:
    devices = deal(load("digits"), parse_scheme("dirichlet:0.3"), 10, SeededEntropy(0)).devices
    settings: dict[str, Any] = {
        "kind": "classification",
        "training": Training(epochs=2, batch_size=16, learning_rate=0.3),
        "rounds": 10,
        "devices_per_round": 10,
        "entropy": SeededEntropy(0),
    }
    plain = fedavg(Softmax(), START, devices, **settings)
    pooled = centralized(Softmax(), START, devices, **settings)
    assert not START.any()
    assert pooled.final.accuracy is not None
    assert plain.final.accuracy is not None
    assert pooled.final.accuracy > 0.93
    assert plain.final.accuracy > 0.9
    assert plain.final.rows == 355
    assert [p.round for p in plain.points] == list(range(1, 11))
    assert plain.points[0].evaluation.loss > plain.final.loss  # type: ignore[operator]
    again = fedavg(Softmax(), START, devices, **{**settings, "entropy": SeededEntropy(0)})
    assert [p.evaluation for p in again.points] == [p.evaluation for p in plain.points]
    other = fedavg(Softmax(), START, devices, **{**settings, "entropy": SeededEntropy(1)})
    assert other.final != plain.final


def test_the_digits_reach_what_plain_fedavg_reached_before() -> None:
    """Dirichlet 0.3 over 10 devices, MLP of 32, 5 local epochs, batch 16, rate 0.05, 30 rounds: 0.953 to 0.956."""
    reached = []
    for seed in range(3):
        entropy = SeededEntropy(seed)
        specification, start = reference.build("mlp:32", (64,), 10, "softmax", entropy)
        curve = fedavg(
            reference.Reference(specification), start,
            deal(load("digits"), parse_scheme("dirichlet:0.3"), 10, entropy).devices,
            kind="classification", training=Training(epochs=5, batch_size=16, learning_rate=0.05), rounds=30,
            devices_per_round=10, entropy=entropy,
        )  # fmt: skip
        reached.append(curve.final.accuracy or 0)
    assert np.mean(reached) > 0.945


@pytest.mark.parametrize(
    "settings",
    [
        {"optimiser": "nesterov", "learning_rate": 0.05, "momentum": 0.9},
        {"optimiser": "adam", "learning_rate": 0.005},
        {"optimiser": "adamw", "learning_rate": 0.005},
    ],
)
def test_baselines_take_the_optimiser_of_the_fleet(settings: dict[str, Any]) -> None:
    devices = deal(load("digits"), parse_scheme("iid"), 4, SeededEntropy(0)).devices
    given: dict[str, Any] = {"kind": "classification", "rounds": 3, "devices_per_round": 4}
    reached = []
    for asked in (settings, {"learning_rate": 0.005}):
        training = Training(epochs=1, batch_size=32, **asked)
        curve = fedavg(Softmax(), START, devices, training=training, entropy=SeededEntropy(1), **given)
        reached.append(curve.final.accuracy or 0)
    assert reached[0] > 0.85
    assert reached[0] > reached[1]


def test_devices_weigh_as_many_rows_as_they_have() -> None:
    one = Training(epochs=1, batch_size=100, learning_rate=1.0)
    fleet = [device("a", 0.0, 0.0, 0.0), device("b", 4.0), device("empty")]
    curve = fedavg(
        Mean(), np.zeros(1, np.float32), fleet, kind="regression", training=one, rounds=1, devices_per_round=9,
        entropy=SeededEntropy(0), clock=CLOCK,
    )  # fmt: skip
    # The mean model says (3 * 0 + 1 * 4) / 4 = 1; the test rows are 0 and 4.
    assert curve.final.mae == pytest.approx(2.0)
    assert curve.final.rows == 2
    assert curve.seconds == 1


def test_momentum_starts_at_zero_in_every_round() -> None:
    training = Training(epochs=2, batch_size=1, learning_rate=0.5, momentum=0.5)
    fleet = [device("a", 1.0)]
    curve = fedavg(
        Mean(), np.zeros(1, np.float32), fleet, kind="regression", training=training, rounds=2, devices_per_round=1,
        entropy=SeededEntropy(0),
    )  # fmt: skip
    # From 0: v = -1, p = .5; v = -1, p = 1. From 1: nothing pulls any more, unless old momentum were kept.
    assert [p.evaluation.mae for p in curve.points] == [0, 0]


@pytest.mark.parametrize(("per_round", "rows"), [(4, 24), (2, 12), (1, 6), (99, 24)])
def test_the_centralized_model_does_the_same_work(per_round: int, rows: int) -> None:
    fleet = [device(f"d{i}", *[float(i)] * 2) for i in range(4)]
    settings: dict[str, Any] = {
        "kind": "regression", "training": Training(epochs=1, batch_size=1, learning_rate=0.1), "rounds": 3,
        "devices_per_round": per_round, "entropy": SeededEntropy(0),
    }  # fmt: skip
    pooled, plain = Mean(), Mean()
    centralized(pooled, np.zeros(1, np.float32), fleet, **settings)
    fedavg(plain, np.zeros(1, np.float32), fleet, **settings)
    assert sum(pooled.seen) == sum(plain.seen) == rows


def test_a_model_that_diverges_has_a_curve_of_nothing() -> None:
    hot = Training(epochs=200, batch_size=1, learning_rate=30.0)
    curve = fedavg(
        Mean(), np.zeros(1, np.float32), [device("a", 1.0)], kind="regression", training=hot, rounds=2,
        devices_per_round=1, entropy=SeededEntropy(0),
    )  # fmt: skip
    assert curve.final == Evaluation(rows=1)


def test_what_trains_nothing_is_refused() -> None:
    for bad in (
        {"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"momentum": 1.0},
        {"learning_rate": float("inf")}, {"optimiser": "lion"},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            Training(**{"epochs": 1, "batch_size": 1, "learning_rate": 0.1, **bad})  # type: ignore[arg-type]
    one = Training(epochs=1, batch_size=1, learning_rate=1.0)
    settings: dict[str, Any] = {"kind": "regression", "training": one, "entropy": SeededEntropy(0)}
    start = np.zeros(1, np.float32)
    with pytest.raises(UsageError, match="no device"):
        fedavg(Mean(), start, [device("a")], rounds=1, devices_per_round=1, **settings)
    with pytest.raises(UsageError, match="0 rounds"):
        centralized(Mean(), start, [device("a", 1.0)], rounds=0, devices_per_round=1, **settings)
    with pytest.raises(UsageError, match="one point for each round"):
        Curve(name="x", points=(Point(round=2, evaluation=Evaluation(rows=0), seconds=0),))


def test_a_curve_in_json_has_the_last_round_at_the_top() -> None:
    point = Point(round=1, evaluation=Evaluation(rows=5, accuracy=0.5), seconds=1.23456)
    assert Curve(name="x", points=(point,)).to_json() == {
        "loss": None, "accuracy": 0.5, "auroc": None, "auprc": None, "mae": None, "r2": None, "seconds": 1.235,
        "rounds": [{
            "round": 1, "loss": None, "accuracy": 0.5, "auroc": None, "auprc": None, "mae": None, "r2": None,
            "seconds": 1.235,
        }],
    }  # fmt: skip


def test_a_column_that_says_nothing_keeps_its_unit() -> None:
    """All rows to train on hold 0.1 in it, and one to test 1.1: it is no million deviations away."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(5, 2, 3_000), np.full(3_000, 0.1)]).astype(np.float32)
    other = rows[:2] + np.array([[0, 0], [0, 1]], np.float32)
    devices = [
        DeviceData(device=f"d{at}", x_train=part, y_train=np.zeros(1_000), x_test=other, y_test=np.zeros(2))
        for at, part in enumerate(np.split(rows, 3))
    ]
    found = standardised(devices)
    train = np.concatenate([one.x_train for one in found])
    assert np.allclose(train.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(train.std(axis=0), [1, 0], atol=1e-3)
    assert train.dtype == np.float32
    assert np.allclose(found[0].x_test[:, 1], [0, 1], atol=1e-3)
