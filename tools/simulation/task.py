"""What a target column asks for: a class, one of two, or a number. Holds no model and no metric."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError

Kind = Literal["classification", "binary", "regression"]
KINDS: tuple[Kind, ...] = ("classification", "binary", "regression")

MAX_CLASSES = 100
"""Whole numbers with more distinct values than this are taken for quantities, not for classes."""

ROWS_PER_CLASS = 5
"""Whole numbers that repeat less often than this, on average, are taken for quantities."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the model learns to predict.

    Args:
        kind: "classification" (one output per class), "binary" (one logit) or "regression" (one number).
        classes: the distinct labels in ascending order, as they stand in the data; empty for regression. Of a binary
            task the second one is the positive class.
        sentence: why this kind was chosen, for the person who ran the command.

    Raises:
        UsageError: the kind is unknown, or does not go with this number of classes.
    """

    kind: Kind
    classes: tuple[Any, ...]
    sentence: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"task {self.kind!r} is unknown: use one of {', '.join(KINDS)}")
        fits = {
            "classification": len(self.classes) >= 2,
            "binary": len(self.classes) == 2,
            "regression": not self.classes,
        }
        if not fits[self.kind]:
            raise UsageError(f"a {self.kind} task can't have {len(self.classes)} classes")

    @property
    def outputs(self) -> int:
        """Number of outputs that a model for this task has."""
        return len(self.classes) if self.kind == "classification" else 1

    def encode(self, y: npt.NDArray[Any]) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Return `y` (N,) as a model takes it: class indices (int64; 0 or 1 if binary), or numbers (float32).

        Raises:
            UsageError: a label is none of the classes, or a target is not a number.
        """
        if self.kind == "regression":
            if y.dtype.kind not in "biuf":
                raise UsageError("regression needs numbers in y_train and y_test; they hold text")
            return y.astype(np.float32)
        classes = np.asarray(self.classes)
        if (classes.dtype.kind == "U") != (y.dtype.kind == "U"):
            raise UsageError(f"labels of type {y.dtype} can't be among the classes {_listed(self.classes)}")
        places = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        strange = classes[places] != y
        if strange.any():
            raise UsageError(f"label {y[strange][0]!r} is none of the classes {_listed(self.classes)}")
        return places.astype(np.int64)


def infer_task(y: npt.NDArray[Any], kind: Kind | None = None) -> Task:
    """Return the task that targets ask for, with the sentence that explains the choice.

    Text and true/false are labels. Whole numbers are labels if there are two distinct ones, or at most `MAX_CLASSES`
    that repeat at least `ROWS_PER_CLASS` times on average. Everything else is a quantity.

    Args:
        y: (N,) targets of training and test rows together, numbers without NaN or text.
        kind: the kind that a person asked for; None chooses.

    Raises:
        UsageError: all targets are equal, or they can't serve the kind that was asked for.
    """
    distinct = np.unique(y)
    count = len(distinct)
    if count < 2:
        raise UsageError("y holds one and the same value in every row: there is nothing to learn from it")
    if kind is None:
        kind, sentence = _chosen(y, count)
    else:
        sentence = f"task {kind}, as asked for"
    if kind == "binary" and count != 2:
        raise UsageError(f"--task binary needs two distinct values in y; there are {count}: use --task classification")
    if kind == "classification" and count > max(20, y.shape[0] // 2):
        raise UsageError(f"y has {count} distinct values in {y.shape[0]} rows: use --task regression")
    classes = () if kind == "regression" else tuple(cast("list[Any]", distinct.tolist()))
    return Task(kind=kind, classes=classes, sentence=sentence)


def _chosen(y: npt.NDArray[Any], count: int) -> tuple[Kind, str]:
    """Return the kind that `y` with `count` distinct values looks like, and why."""
    other = "--task says otherwise if that is wrong"
    if count == 2:
        return "binary", f"task binary: y has two distinct values ({other})"
    if y.dtype.kind == "U":
        return "classification", f"task classification: y holds {count} distinct texts ({other})"
    if y.dtype.kind == "f" and not np.array_equal(y, np.round(y)):
        return "regression", f"task regression: y holds fractions ({other})"
    if count <= MAX_CLASSES and count * ROWS_PER_CLASS <= y.shape[0]:
        return "classification", f"task classification: y holds {count} distinct whole numbers that repeat ({other})"
    return "regression", f"task regression: y holds {count} distinct whole numbers, too many for labels ({other})"


def _listed(classes: tuple[Any, ...]) -> str:
    """Return the classes for a sentence, cut short."""
    shown = ", ".join(repr(c) for c in classes[:10])
    return shown + (", …" if len(classes) > 10 else "")
