"""Whether a device's labels and targets are such as the task has. Changes none."""

import numpy as np
import numpy.typing as npt

from accord.errors import CannotTrain
from accord.plan import Task
from edge_sdk.rows import Array, Rows


def check_labels(task: Task, rows: Rows) -> None:
    """Refuse rows with a label that is no class of the task, or a target that is no number.

    Raises:
        CannotTrain: `WrongLabel`; the message names the first such row.
    """
    for part, y in (("training", rows.y_train), ("test", rows.y_test)):
        wrong = _wrong(task, y) if y.size else np.zeros(0, np.int64)
        if not len(wrong):
            continue
        expected = {
            "regression": "a finite number",
            "binary": "0 or 1",
            "classification": f"a class from 0 to {task.outputs - 1}",
        }[task.kind]
        row = int(wrong[0])
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise CannotTrain(
            "WrongLabel",
            f"{part} row {row} has label {str(y[row])[:40]}{more}, where {expected} is expected: correct it on this "
            "device or leave the row out",
        )


def _wrong(task: Task, y: Array) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows whose label can't be, in order."""
    if y.dtype.kind not in "biuf":
        return np.arange(len(y))
    numbers: npt.NDArray[np.float64] = y.reshape(len(y), -1).astype(np.float64)
    highest = 1 if task.kind == "binary" else task.outputs - 1
    right = np.asarray(np.isfinite(numbers))
    if task.kind != "regression":
        right[(numbers < 0) | (numbers > highest) | (numbers != np.floor(numbers))] = False
    return np.flatnonzero(np.logical_not(right.all(axis=1)))
