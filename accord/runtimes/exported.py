"""An exported ONNX model in onnxruntime: what an app will get, run to see how good it is. Trains nothing."""

from typing import Any

import numpy as np
import numpy.typing as npt

from accord.runtimes.onnx import session

BATCH = 256
"""Rows that are predicted at once."""


class Exported:
    """An exported model: the port `Predictor`.

    Args:
        model: what `accord.bundle.export.export` returned.

    Raises:
        UsageError: onnxruntime is not installed.
        Refusal: `CorruptGraph`: onnxruntime can't load it.
    """

    def __init__(self, model: bytes) -> None:
        self._session = session(model, integers=True)
        (self._source,) = (item.name for item in self._session.get_inputs())
        (self._output,) = (item.name for item in self._session.get_outputs())

    def predict(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the outputs; see the port."""
        rows = np.ascontiguousarray(x, np.float32)
        starts = range(0, max(1, len(rows)), BATCH)
        parts = [self._session.run([self._output], {self._source: rows[at : at + BATCH]})[0] for at in starts]
        return np.concatenate(parts)
