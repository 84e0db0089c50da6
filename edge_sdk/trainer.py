"""What a device does with its rows for each purpose of a plan: train, evaluate, or take masked statistics.

The rows never leave: what comes out is a `Contribution`, which the session turns into masked integers.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import LocalProtocolError, UsageError
from accord.optimisers import Sgd
from accord.plan import MICRO, Plan
from accord.runtimes import Runtime
from accord.tensors import Vector
from accord.update import tail
from accord.update.pipeline import POWERS, ROW_POWERS, Contribution, power_bins
from accord.update.snapshot import Snapshot, columns_of, decode
from edge_sdk.transforms import original, transformed

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """A device's own rows: x of shape (N, ...), y of shape (N,), class indices or numbers; parts may be empty."""

    x_train: Array = field(repr=False)
    y_train: Array = field(repr=False)
    x_test: Array = field(repr=False)
    y_test: Array = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.x_train) != len(self.y_train) or len(self.x_test) != len(self.y_test):
            raise UsageError("x and y have different numbers of rows")
        if not (np.isfinite(self.x_train).all() and np.isfinite(self.x_test).all()):
            raise UsageError("rows hold NaN or infinity: leave them out or fill them in")


class Trainer:
    """One device's work.

    Args:
        runtime: opened from the bundle.
        input_shape: of one row.
        rows: the device's own.
        entropy: decides the order of the rows in each pass.
    """

    def __init__(self, runtime: Runtime, input_shape: tuple[int, ...], rows: Rows, entropy: Entropy) -> None:
        self._runtime, self._rows, self._entropy = runtime, rows, entropy
        self._columns = columns_of(input_shape)
        self._gradient = np.empty(runtime.layout.size, np.float32)
        self._scaled: tuple[bytes, Array, Array, Array] | None = None

    def work(self, plan: Plan, params: bytes) -> Contribution:
        """Do what `plan` asks, starting from the snapshot in `params`.

        Raises:
            UsageError: the rows do not fit the task.
            CodecError: the snapshot is not one.
            LocalProtocolError: training gave NaN or infinity.
        """
        if plan.purpose == "powers":
            return self._powers(plan)
        if plan.purpose == "moments":
            return self._moments(plan)
        snapshot = decode(params, self._runtime.layout, self._columns)
        x_train, y_train, x_test = self._inputs(plan, snapshot)
        figures = self._evaluated(plan, snapshot, x_test)
        rows = len(y_train)
        if plan.purpose == "evaluate":
            return Contribution(rows=rows, figures=figures)
        return Contribution(rows=rows, delta=self._trained(plan, snapshot.params, x_train, y_train), figures=figures)

    def _inputs(self, plan: Plan, snapshot: Snapshot) -> tuple[Array, Array, Array]:
        """Scale the rows once per scaling: it changes once in a job."""
        key = snapshot.scaling.mean.tobytes() + snapshot.scaling.factor.tobytes() + plan.task.transform.encode()
        key += np.array([snapshot.scaling.target_mean, snapshot.scaling.target_scale]).tobytes()
        if self._scaled is None or self._scaled[0] != key:
            scaling, rows = snapshot.scaling, self._rows
            y: Array = rows.y_train
            if plan.task.kind == "regression":
                y = scaling.targets(transformed(plan.task.transform, rows.y_train))
            else:
                y = y.astype(np.int64)
            self._scaled = (key, scaling.inputs(rows.x_train), y, scaling.inputs(rows.x_test))
        return self._scaled[1:]

    def _trained(self, plan: Plan, params: Vector, x: Array, y: Array) -> Vector:
        training = plan.training
        trained = params.copy()
        optimiser = Sgd(
            params,
            learning_rate=training.learning_rate / MICRO,
            momentum=training.momentum / MICRO,
            proximal=training.proximal / MICRO,
        )
        entropy = self._entropy.child("order", plan.round, plan.attempt)
        count, size = len(y), training.batch_size
        for _ in range(training.epochs if count else 0):
            order = np.argsort(np.frombuffer(entropy(8 * count), "<u8"))
            xs, ys = x[order], y[order]
            for at in range(0, count, size):
                self._runtime.gradients(trained, xs[at : at + size], ys[at : at + size], self._gradient)
                optimiser.step(trained, self._gradient)
        if not np.isfinite(trained).all():
            raise LocalProtocolError("training gave NaN or infinity: lower the learning rate or look at the data")
        return trained - params

    def _evaluated(self, plan: Plan, snapshot: Snapshot, x: Array) -> dict[str, npt.ArrayLike]:
        task, y = plan.task, self._rows.y_test
        if not len(y):
            return {f.name: np.zeros(f.length) for f in tail.fields(task)}
        outputs = self._runtime.predict(snapshot.params, x).astype(np.float64)
        if not np.isfinite(outputs).all():
            raise LocalProtocolError("the model gives NaN or infinity on this device's rows")
        if task.kind == "regression":
            return _regression(plan, snapshot, outputs[:, 0], y)
        if task.kind == "binary":
            logits, truth = outputs[:, 0], y.astype(bool)
            losses = np.logaddexp(0, np.where(truth, -logits, logits))
            bins = tail.score_bins(logits)
            return {
                "count": len(y),
                "loss": losses.sum(),
                "correct": np.count_nonzero((logits > 0) == truth),
                "ones": np.bincount(bins[truth], minlength=tail.HISTOGRAM_BINS),
                "zeros": np.bincount(bins[~truth], minlength=tail.HISTOGRAM_BINS),
            }
        top = outputs.max(axis=1)
        sums = top + np.log(np.exp(outputs - top[:, None]).sum(axis=1))
        labels = y.astype(np.int64)
        return {
            "count": len(y),
            "loss": np.maximum(sums - outputs[np.arange(len(y)), labels], 0).sum(),
            "correct": np.count_nonzero(outputs.argmax(axis=1) == labels),
        }

    def _table(self, plan: Plan) -> npt.NDArray[np.float64]:
        """Return the training rows as columns, (rows, length); regression adds the target, transformed and not."""
        rows = self._rows.x_train.astype(np.float64)
        table = np.moveaxis(rows, 1, -1).reshape(-1, self._columns)
        if plan.length == self._columns:
            return table
        if plan.length != self._columns + 2:
            raise UsageError(f"statistics of {plan.length} columns are asked for; the rows have {self._columns}")
        y = self._rows.y_train.astype(np.float64)
        targets = np.column_stack([transformed(plan.task.transform, y), y])
        return np.column_stack([table, np.repeat(targets, len(table) // max(1, len(y)), axis=0)])

    def _powers(self, plan: Plan) -> Contribution:
        table = self._table(plan)
        histogram = np.zeros((plan.length, POWERS))
        bins = power_bins(table)
        for column in range(plan.length):
            histogram[column] = np.bincount(bins[:, column], minlength=POWERS)
        rows = np.zeros(ROW_POWERS)
        count = len(self._rows.y_train)
        rows[min(ROW_POWERS - 1, count.bit_length())] = 1
        return Contribution(rows=count, figures={"count": len(table), "powers": histogram.ravel(), "rows": rows})

    def _moments(self, plan: Plan) -> Contribution:
        table = self._table(plan) / np.ldexp(1.0, np.array(plan.fixed.exponents, np.int64))
        table = np.clip(table, -1, 1)
        return Contribution(
            rows=len(self._rows.y_train),
            figures={
                "count": len(table),
                "positive": np.maximum(table, 0).sum(axis=0),
                "negative": np.maximum(-table, 0).sum(axis=0),
                "squared": (table**2).sum(axis=0),
            },
        )


def _regression(plan: Plan, snapshot: Snapshot, outputs: npt.NDArray[np.float64], y: Array) -> dict[str, npt.ArrayLike]:
    truth = y.astype(np.float64)
    errors = original(plan.task.transform, snapshot.scaling.originals(outputs)) - truth
    scaled = outputs - snapshot.scaling.targets(transformed(plan.task.transform, y))
    return {
        "count": len(y),
        "loss": (scaled**2).sum(),
        "absolute": np.abs(errors).sum(),
        "squared": (errors**2).sum(),
        "positive": np.maximum(truth, 0).sum(),
        "negative": np.maximum(-truth, 0).sum(),
        "target_squared": (truth**2).sum(),
    }
