"""How right a bundle is before any training: the float model, the one that is trained, and the int8 one for an app."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accord.bundle.manifest import REGRESSIONS
from accord.runtimes import open_runtime
from accord.runtimes.onnx import Exported
from quantize.making import Made
from quantize.models import onnx_model
from quantize.rows import Rows

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One figure of three models on the same rows; None where the tier has no such model.

    `measure` is accuracy, the fraction of right rows (of rows and outputs for binary), or error, the mean absolute one
    in the units of y. `training` is the graph that is trained, `exported` the int8 model.
    """

    measure: str
    rows: int
    original: float
    training: float | None
    exported: float | None


def accuracy_of(made: Made, rows: Rows) -> Accuracy | None:
    """Return the figures, or None where the rows have no targets.

    Args:
        made: the bundle.
        rows: as its model takes them, with targets as `quantize.rows.checked_targets` gives them.
    """
    if rows.y is None:
        return None
    bundle = made.bundle
    loss, y = bundle.manifest.loss, rows.y
    runtime = open_runtime(bundle, "onnx")
    training: Floats | None = None
    exported: Floats | None = None
    if made.parts is not None:
        training = runtime.predict(bundle.params, runtime.prepared(rows.x))
        exported = runtime.exported(bundle.params, rows.x)
    original = Exported(onnx_model(made.network).SerializeToString()).predict(rows.x)
    figures = [None if found is None else _figure(loss, found, y, rows) for found in (original, training, exported)]
    assert figures[0] is not None
    return Accuracy(
        measure="error" if loss in REGRESSIONS else "accuracy",
        rows=len(y),
        original=figures[0],
        training=figures[1],
        exported=figures[2],
    )


def _figure(loss: str, outputs: Floats, y: npt.NDArray[np.generic], rows: Rows) -> float:
    if loss == "softmax":
        return float(np.mean(outputs.argmax(1) == y))
    found = outputs.reshape(y.shape)
    if loss == "binary":
        return float(np.mean((found > 0) == (y.astype(np.float32) > 0.5)))
    return float(np.mean(np.abs(rows.scaling.originals(found) - y.astype(np.float64))))
