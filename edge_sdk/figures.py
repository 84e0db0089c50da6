"""What a device tells of its test rows: sums for the evaluation tail, from the outputs of a model. Runs no model."""

from typing import Any

import numpy as np
import numpy.typing as npt

from accord.errors import LocalProtocolError
from accord.plan import Task
from accord.update import tail
from accord.update.snapshot import Scaling
from edge_sdk.transforms import original, transformed

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]


def figures_of(
    task: Task,
    scaling: Scaling,
    outputs: Floats,
    exported: Floats | None,
    y: npt.NDArray[Any],
    *,
    emulated: bool = False,
) -> dict[str, npt.ArrayLike]:
    """Return the figures of `accord.update.tail.fields`.

    Args:
        task: what is predicted.
        scaling: of regression targets.
        outputs: of the model in training, (N, outputs).
        exported: of the int8 model that is exported from it, or None if it was not run.
        y: labels (N,), or targets (N,) in original units.
        emulated: whether `exported` is that model's numbers in float32, where no int8 model can be run.

    Raises:
        LocalProtocolError: an output is NaN or infinite.
    """
    wide = outputs.astype(np.float64)
    if not np.isfinite(wide).all():
        raise LocalProtocolError("the model gives NaN or infinity on this device's rows")
    found: dict[str, npt.ArrayLike]
    if task.kind == "regression":
        found = _regression(task, scaling, wide[:, 0], y.astype(np.float64))
    elif task.kind == "binary":
        found = _binary(wide[:, 0], y.astype(bool))
    else:
        found = _classes(wide, y.astype(np.int64))
    if task.gate:
        name = "loss" if task.kind == "regression" else "correct"
        other = None if exported is None else figures_of(_ungated(task), scaling, exported, None, y)
        found["exported_rows"] = 0 if other is None else len(y)
        found["emulated_rows"] = len(y) if emulated and other is not None else 0
        found[f"graph_{name}"] = 0 if other is None else found[name]
        found[f"exported_{name}"] = 0 if other is None else other[name]
    return found


def _ungated(task: Task) -> Task:
    return Task(
        kind=task.kind, outputs=task.outputs, target_exponent=task.target_exponent, transform=task.transform, gate=0
    )


def _classes(outputs: Wide, labels: npt.NDArray[np.int64]) -> dict[str, npt.ArrayLike]:
    top = outputs.max(axis=1)
    sums = top + np.log(np.exp(outputs - top[:, None]).sum(axis=1))
    return {
        "count": len(labels),
        "loss": np.maximum(sums - outputs[np.arange(len(labels)), labels], 0).sum(),
        "correct": np.count_nonzero(outputs.argmax(axis=1) == labels),
    }


def _binary(logits: Wide, truth: npt.NDArray[np.bool_]) -> dict[str, npt.ArrayLike]:
    losses = np.logaddexp(0, np.where(truth, -logits, logits))
    bins = tail.score_bins(logits)
    return {
        "count": len(truth),
        "loss": losses.sum(),
        "correct": np.count_nonzero((logits > 0) == truth),
        "ones": np.bincount(bins[truth], minlength=tail.HISTOGRAM_BINS),
        "zeros": np.bincount(bins[~truth], minlength=tail.HISTOGRAM_BINS),
    }


def _regression(task: Task, scaling: Scaling, outputs: Wide, truth: Wide) -> dict[str, npt.ArrayLike]:
    errors = original(task.transform, scaling.originals(outputs)) - truth
    centred = truth - original(task.transform, np.array([scaling.target_mean]))
    scaled = outputs - scaling.targets(transformed(task.transform, truth))
    return {
        "count": len(truth),
        "loss": (scaled**2).sum(),
        "absolute": np.abs(errors).sum(),
        "squared": (errors**2).sum(),
        "positive": np.maximum(centred, 0).sum(),
        "negative": np.maximum(-centred, 0).sum(),
        "target_squared": (centred**2).sum(),
    }
