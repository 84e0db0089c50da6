"""What a device does with its rows for each purpose of a plan: train, evaluate, or take masked statistics.

The rows never leave: what comes out is a `Contribution`, which the session turns into masked integers.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import CannotTrain, UsageError
from accord.plan import Plan
from accord.runtimes import Runtime
from accord.tensors import Vector
from accord.update import tail
from accord.update.pipeline import POWERS, ROW_POWERS, Contribution, power_bins
from accord.update.snapshot import Snapshot, columns_of, decode
from edge_sdk.figures import figures_of
from edge_sdk.inputs import Inputs, prepared_rows
from edge_sdk.labels import check_labels
from edge_sdk.learner import learner_of
from edge_sdk.pace import Pace, Paused, Progress
from edge_sdk.rows import Array, Rows
from edge_sdk.transforms import transformed

_SLICE = 1_024
"""Rows that are evaluated between two questions whether work may go on."""

_CELLS = 1 << 15
"""Numbers that statistics look at between two such questions."""


@dataclass
class _UnderWay:
    """Work that was begun, what was asked for, and where it stands."""

    plan: Plan
    params: bytes
    steps: Generator[Progress | None, None, Contribution]


class Trainer:
    """One device's work, which can stop between two steps and go on from there with the same result.

    Args:
        runtime: opened from the bundle.
        input_shape: of one row.
        rows: the device's own, or what gives them at the beginning of each piece of work.
        entropy: decides the order of the rows in each pass, and how int8 weights are rounded.
        scaled: whether the model takes rows scaled by the fleet's statistics; if not, no row's values are counted.
        pace: asked before each step whether work may go on.
        progress: told after each step of training.
    """

    def __init__(
        self,
        runtime: Runtime,
        input_shape: tuple[int, ...],
        rows: Rows | Callable[[], Rows],
        entropy: Entropy,
        *,
        scaled: bool = True,
        pace: Pace = lambda: True,
        progress: Callable[[Progress], None] = lambda _step: None,
    ) -> None:
        self._runtime, self._entropy, self._pace, self._progress = runtime, entropy, pace, progress
        self._source: Callable[[], Rows] = rows if callable(rows) else lambda: rows
        self._rows: Rows
        self._columns = columns_of(input_shape)
        self._counted = self._columns if scaled else 0
        self._inputs: Inputs | None = None
        self._under_way: _UnderWay | None = None

    def work(self, plan: Plan, params: bytes) -> Contribution:
        """Do what `plan` asks, starting from the snapshot in `params`, or from where the same work stopped.

        Raises:
            UsageError: the rows do not fit the task.
            CodecError: the snapshot is not one.
            CannotTrain: `OutOfMemory`, `NotFinite` or `WrongLabel`; the next work begins anew.
            Paused: it may not go on now; nothing is lost.
        """
        current = self._under_way
        if current is None or current.plan != plan or current.params != params:
            self._under_way = current = _UnderWay(plan, params, self._steps(plan, params))
        try:
            while self._pace():
                step = next(current.steps)
                if step is not None:
                    self._progress(step)
        except StopIteration as end:
            self._under_way = None
            found: Contribution = end.value
            return found
        except MemoryError as error:
            self._under_way = self._inputs = None  # what is held of the rows goes with it
            raise CannotTrain(
                "OutOfMemory",
                f"the work of round {plan.round}, with {plan.training.batch_size} rows in a step, does not fit into "
                "memory: close other programs, keep fewer rows on this device, or ask for a job with a smaller "
                f"batch_size or model ({str(error)[:200] or 'no room'})",
            ) from error
        except BaseException:
            self._under_way = None
            raise
        raise Paused("work stopped between two steps")

    def _steps(self, plan: Plan, params: bytes) -> Generator[Progress | None, None, Contribution]:
        """Do the work in steps; what comes out at the end is the same wherever it stopped in between."""
        self._rows = self._source()
        if plan.purpose in ("train", "evaluate"):
            check_labels(plan.task, self._rows)
        if plan.purpose == "powers":
            return (yield from self._powers(plan))
        if plan.purpose == "moments":
            return (yield from self._moments(plan))
        snapshot = decode(params, self._runtime.layout, self._columns)
        inputs = yield from self._scaled(plan, snapshot)
        figures = yield from self._evaluated(plan, snapshot, inputs)
        rows = len(inputs.y)
        if plan.purpose == "evaluate":
            return Contribution(rows=rows, figures=figures)
        delta = yield from self._trained(plan, snapshot.params, inputs)
        return Contribution(rows=rows, delta=delta, figures=figures)

    def _scaled(self, plan: Plan, snapshot: Snapshot) -> Generator[None, None, Inputs]:
        """Scale the rows, and run them through the frozen part, once per scaling: it changes once in a job."""
        scaling, rows = snapshot.scaling, self._rows
        key = scaling.mean.tobytes() + scaling.factor.tobytes() + plan.task.transform.encode()
        key += np.array([scaling.target_mean, scaling.target_scale]).tobytes()
        if self._inputs is not None and self._inputs.source is rows and self._inputs.key == key:
            return self._inputs
        y: Array = rows.y_train
        if plan.task.kind == "regression":
            y = scaling.targets(transformed(plan.task.transform, rows.y_train))
        else:
            y = y.astype(np.int64)
        train = yield from prepared_rows(self._runtime, scaling.inputs(rows.x_train))
        test = yield from prepared_rows(self._runtime, scaling.inputs(rows.x_test))
        self._inputs = Inputs(source=rows, key=key, train=train, y=y, test=test)
        return self._inputs

    def _trained(self, plan: Plan, params: Vector, inputs: Inputs) -> Generator[Progress, None, Vector]:
        training, y = plan.training, inputs.y
        key = self._entropy.child("rounding", plan.round, plan.attempt)(32)
        learner = learner_of(self._runtime, training, params, key)
        entropy = self._entropy.child("order", plan.round, plan.attempt)
        count, size, done = len(y), training.batch_size, 0
        steps = training.epochs * -(-count // size)
        for epoch in range(1, 1 + (training.epochs if count else 0)):
            order = np.argsort(np.frombuffer(entropy(8 * count), "<u8"))
            for at in range(0, count, size):
                batch = order[at : at + size]  # taken one by one: a device has no room for a second copy of its rows
                loss = learner.step(inputs.train.rows(batch), y[batch])
                done += 1
                if not np.isfinite(loss):
                    raise _not_finite(f"the loss or its gradient in step {done} of round {plan.round}")
                yield Progress(
                    round=plan.round,
                    attempt=plan.attempt,
                    epoch=epoch,
                    epochs=training.epochs,
                    step=done,
                    steps=steps,
                    loss=loss,
                    metric=self._runtime.metric,
                )
        change = learner.change(params)
        if change is None:
            raise _not_finite(f"the model after round {plan.round}")
        return change

    def _evaluated(
        self, plan: Plan, snapshot: Snapshot, inputs: Inputs
    ) -> Generator[None, None, dict[str, npt.ArrayLike]]:
        task, y, x = plan.task, self._rows.y_test, inputs.test
        if not len(y):
            return {f.name: np.zeros(f.length) for f in tail.fields(task)}
        inside, running = [], []
        for at in range(0, len(x), _SLICE):
            inside.append(self._runtime.predict(snapshot.params, x.rows(slice(at, at + _SLICE))))
            yield
        raw = snapshot.scaling.inputs(self._rows.x_test) if task.gate else self._rows.x_test[:0]
        for at in range(0, len(raw), _SLICE):
            outputs = self._runtime.exported(snapshot.params, raw[at : at + _SLICE])
            if outputs is None:
                break
            running.append(outputs)
            yield
        exported = np.concatenate(running) if running else None
        return figures_of(task, snapshot.scaling, np.concatenate(inside), exported, y, emulated=self._runtime.emulates)

    def _tables(self, plan: Plan) -> Iterator[npt.NDArray[np.float64]]:
        """Yield the training rows as columns, (rows, length), some rows at a time.

        Regression adds the target, transformed and not.
        """
        x, y = self._rows.x_train, self._rows.y_train.astype(np.float64)
        if plan.length not in (self._counted, self._counted + 2):
            raise UsageError(f"statistics of {plan.length} columns are asked for; the rows have {self._counted}")
        targets = np.column_stack([transformed(plan.task.transform, y), y]) if plan.length > self._counted else None
        many = max(1, _CELLS // max(1, x[:1].size))
        for at in range(0, len(y), many):
            part = x[at : at + many].astype(np.float64)
            table = np.moveaxis(part, 1, -1).reshape(-1, self._columns)[:, : self._counted]
            if targets is not None:
                repeated = np.repeat(targets[at : at + many], len(table) // len(part), axis=0)
                table = np.column_stack([table, repeated])
            yield table

    def _powers(self, plan: Plan) -> Generator[None, None, Contribution]:
        histogram, cells = np.zeros((plan.length, POWERS)), 0
        for table in self._tables(plan):
            bins = power_bins(table)
            for column in range(plan.length):
                histogram[column] += np.bincount(bins[:, column], minlength=POWERS)
            cells += len(table)
            yield
        rows = np.zeros(ROW_POWERS)
        count = len(self._rows.y_train)
        rows[min(ROW_POWERS - 1, count.bit_length())] = 1
        return Contribution(rows=count, figures={"count": cells, "powers": histogram.ravel(), "rows": rows})

    def _moments(self, plan: Plan) -> Generator[None, None, Contribution]:
        scale = np.ldexp(1.0, np.array(plan.fixed.exponents, np.int64))
        sums, cells = np.zeros((3, plan.length)), 0
        for table in self._tables(plan):
            clipped = np.clip(table / scale, -1, 1)
            sums += [np.maximum(clipped, 0).sum(axis=0), np.maximum(-clipped, 0).sum(axis=0), (clipped**2).sum(axis=0)]
            cells += len(table)
            yield
        return Contribution(
            rows=len(self._rows.y_train),
            figures={"count": cells, "positive": sums[0], "negative": sums[1], "squared": sums[2]},
        )


def _not_finite(what: str) -> CannotTrain:
    return CannotTrain(
        "NotFinite",
        f"{what} is NaN or infinite: lower the learning rate or set clip_norm in the job, or look at this device's "
        "rows for values far from the others",
    )
