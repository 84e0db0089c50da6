"""What a fleet is compared with: plain float32 FedAvg, and one model that sees all rows. No masks, no link."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.optimisers import Adam, FlatOptimiser, Sgd
from accord.plan import OPTIMISERS
from aggregator.job import CONSTANT
from simulation.metrics import Evaluation, evaluate
from simulation.partition import DeviceData
from simulation.task import Kind

Vector = npt.NDArray[np.float32]
Clock = Callable[[], float]
CHUNK = 4096
"""Test rows that are predicted at once: a bound on memory, not on the result."""


class Gradients(Protocol):
    """The part of a model runtime that a baseline needs."""

    def gradients(
        self, params: Vector, x: npt.NDArray[Any], y: npt.NDArray[Any], out: Vector | None = None
    ) -> tuple[float, Vector]:
        """Return the mean loss of a batch and its gradient (P,) float32, written to `out` if given.

        Args:
            params: (P,) float32.
            x: (N, ...) float32.
            y: (N,) targets.
            out: (P,) float32 to write to.
        """
        ...

    def predict(self, params: Vector, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the raw outputs (N, K) for rows (N, ...)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Training:
    """How one device trains in one round: minibatches, and an optimiser whose state starts at zero each round.

    Args:
        epochs: passes over the device's rows, 1 or more.
        batch_size: rows per step, 1 or more; the last batch of a pass may be smaller.
        learning_rate: above 0.
        momentum: from 0 to below 1, of sgd and nesterov.
        optimiser: sgd, nesterov, adam or adamw.

    Raises:
        UsageError: a number is out of range, or there is no such optimiser.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.0
    optimiser: str = "sgd"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise UsageError(f"{self.epochs} epochs in batches of {self.batch_size} train nothing: use 1 or more")
        if not 0 < self.learning_rate < float("inf") or not 0 <= self.momentum < 1:
            raise UsageError(
                f"learning rate {self.learning_rate} must be above 0, and momentum {self.momentum} from 0 to below 1"
            )
        if self.optimiser not in OPTIMISERS:
            raise UsageError(f"optimiser {self.optimiser} is unknown: use one of {', '.join(OPTIMISERS)}")

    def begun(self, start: Vector) -> FlatOptimiser:
        """Return a new optimiser for vectors like `start`, float32 (P,)."""
        if self.optimiser in ("adam", "adamw"):
            return Adam(start, learning_rate=self.learning_rate, decoupled=self.optimiser == "adamw")
        nesterov = self.optimiser == "nesterov"
        return Sgd(start, learning_rate=self.learning_rate, momentum=self.momentum, nesterov=nesterov)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One round of a baseline: its number (1-based), what it reached on all test rows, and how long it took."""

    round: int
    evaluation: Evaluation
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A baseline, round by round.

    Args:
        name: what the reports call it.
        points: one per round, in order from 1.

    Raises:
        UsageError: there are no points, or a round is missing.
    """

    name: str
    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        if not self.points or [p.round for p in self.points] != list(range(1, len(self.points) + 1)):
            raise UsageError(f"{self.name}: a curve has one point for each round from 1 on")

    @property
    def final(self) -> Evaluation:
        """What the last round reached."""
        return self.points[-1].evaluation

    @property
    def seconds(self) -> float:
        """How long all rounds took."""
        return sum(p.seconds for p in self.points)

    def to_json(self) -> dict[str, Any]:
        """Return the metrics of the last round at the top, the seconds, and every round."""
        rounds = [{"round": p.round, **p.evaluation.to_json(), "seconds": round(p.seconds, 3)} for p in self.points]
        return {**self.final.to_json(), "seconds": round(self.seconds, 3), "rounds": rounds}


def fedavg(
    model: Gradients,
    start: Vector,
    devices: Sequence[DeviceData],
    *,
    kind: Kind,
    training: Training,
    rounds: int,
    devices_per_round: int,
    entropy: Entropy,
    clock: Clock = time.perf_counter,
) -> Curve:
    """Return FedAvg (McMahan et al. 2017, algorithm 1): the mean of locally trained models, weighted by rows.

    Args:
        model: the runtime; it sees one device's rows at a time.
        start: (P,) float32 parameters before round 1; not changed.
        devices: targets encoded for the model; those without training rows count for the test only.
        kind: the task.
        training: the same for each device.
        rounds: 1 or more.
        devices_per_round: drawn without replacement each round; more than there are means all.
        entropy: a seeded source for the draw and the order of rows.
        clock: seconds, for the curve.

    Raises:
        UsageError: no device has a training row, or a number is out of range.
    """
    trainable = _trainable(devices, rounds, devices_per_round)
    x_test, y_test = _pooled(devices, "test")
    params = start.astype(np.float32)
    points = []
    for number in range(1, rounds + 1):
        began = clock()
        rng = _generator(entropy, "draw", number)
        chosen = np.sort(rng.permutation(len(trainable))[:devices_per_round])
        total = np.zeros(params.shape, np.float64)
        for place in chosen.tolist():
            device = trainable[place]
            steps = Steps(model, params, training)
            order = _batches(len(device.y_train), training, _generator(entropy, "rows", number, device.device))
            for _ in range(training.epochs):
                steps.take(device.x_train, device.y_train, next(order))
            total += len(device.y_train) * steps.params.astype(np.float64)
        params = (total / sum(len(trainable[i].y_train) for i in chosen.tolist())).astype(np.float32)
        reached = measure(model, params, kind, x_test, y_test)
        points.append(Point(round=number, evaluation=reached, seconds=clock() - began))
    return Curve(name="FedAvg, float32, no masks", points=tuple(points))


def centralized(
    model: Gradients,
    start: Vector,
    devices: Sequence[DeviceData],
    *,
    kind: Kind,
    training: Training,
    rounds: int,
    devices_per_round: int,
    entropy: Entropy,
    clock: Clock = time.perf_counter,
) -> Curve:
    """Return what one model reaches on all rows in one place, for the same work as FedAvg with these arguments.

    A round here trains on as many rows as a round of FedAvg does on average, so that points of the same number have
    seen the same number of rows. Momentum goes on from round to round.

    Raises:
        UsageError: no device has a training row, or a number is out of range.
    """
    trainable = _trainable(devices, rounds, devices_per_round)
    x_train, y_train = _pooled(trainable, "train")
    x_test, y_test = _pooled(devices, "test")
    share = min(1.0, devices_per_round / len(trainable))
    steps = Steps(model, start, training)
    order = _batches(len(y_train), training, _generator(entropy, "rows", "centralized"))
    points, seen, due = [], 0, 0.0
    waiting: list[npt.NDArray[np.intp]] = []
    for number in range(1, rounds + 1):
        began = clock()
        due += training.epochs * len(y_train) * share
        while seen < due - 0.5:
            waiting = waiting or next(order)
            batch = waiting.pop(0)
            steps.take(x_train, y_train, [batch])
            seen += len(batch)
        reached = measure(model, steps.params, kind, x_test, y_test)
        points.append(Point(round=number, evaluation=reached, seconds=clock() - began))
    return Curve(name="centralized", points=tuple(points))


class Steps:
    """An optimiser on the flat vector, one minibatch after the other; starts from a copy of `start`."""

    def __init__(self, model: Gradients, start: Vector, training: Training) -> None:
        self.params: Vector = start.astype(np.float32)
        self._model = model
        self._optimiser = training.begun(self.params)
        self._gradient: Vector = np.empty_like(self.params)

    def take(self, x: npt.NDArray[Any], y: npt.NDArray[Any], batches: Sequence[npt.NDArray[np.intp]]) -> None:
        """Change `params` by one step for each batch, which is a list of row numbers."""
        with np.errstate(over="ignore", invalid="ignore"):  # a model that diverges shows as None in the curve
            for batch in batches:
                _, gradient = self._model.gradients(self.params, x[batch], y[batch], out=self._gradient)
                self._optimiser.step(self.params, gradient)


def measure(model: Gradients, params: Vector, kind: Kind, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Evaluation:
    """Return what the model reaches on rows x (N, ...) with encoded targets y (N,); N may be 0."""
    if not len(y):
        return Evaluation(rows=0)
    outputs = [model.predict(params, x[i : i + CHUNK]) for i in range(0, len(y), CHUNK)]
    return evaluate(kind, y, np.concatenate(outputs))


def standardised(devices: Sequence[DeviceData]) -> list[DeviceData]:
    """Return devices whose rows have mean 0 and deviation 1 over all devices, by column or channel, as in a round.

    What is the same in all rows to train on keeps its unit, there as here: a row to test may differ.
    """
    every = np.concatenate([d.x_train for d in devices])
    axes = tuple(place for place in range(every.ndim) if place != 1)
    mean, deviation = every.mean(axis=axes, keepdims=True), every.std(axis=axes, keepdims=True)
    varies = np.ptp(every, axis=axes, keepdims=True) > CONSTANT * np.abs(every).max(axis=axes, keepdims=True)
    deviation = np.where(varies, deviation, np.ones_like(deviation))
    return [
        dataclasses.replace(d, x_train=(d.x_train - mean) / deviation, x_test=(d.x_test - mean) / deviation)
        for d in devices
    ]


def _trainable(devices: Sequence[DeviceData], rounds: int, devices_per_round: int) -> list[DeviceData]:
    """Return the devices with training rows, or refuse."""
    trainable = [d for d in devices if len(d.y_train)]
    if not trainable:
        raise UsageError("no device has a row to train on")
    if rounds < 1 or devices_per_round < 1:
        raise UsageError(f"{rounds} rounds of {devices_per_round} devices train nothing: use 1 or more")
    return trainable


def _pooled(devices: Sequence[DeviceData], part: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return x and y of all devices."""
    return (
        np.concatenate([getattr(d, f"x_{part}") for d in devices]),
        np.concatenate([getattr(d, f"y_{part}") for d in devices]),
    )


def _batches(rows: int, training: Training, rng: np.random.Generator) -> Iterator[list[npt.NDArray[np.intp]]]:
    """Yield the batches of one pass after the other, each pass in a fresh order."""
    while True:
        order = rng.permutation(rows)
        yield [order[i : i + training.batch_size] for i in range(0, rows, training.batch_size)]


def _generator(entropy: Entropy, *label: object) -> np.random.Generator:
    """Return NumPy's generator for one named use."""
    return np.random.default_rng(int.from_bytes(entropy.child("baseline", *label)(32), "little"))
