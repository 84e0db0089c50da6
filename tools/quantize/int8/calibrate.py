"""The ranges of a float network's activations on real rows. Invents no rows: noise gives grids that fit noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError
from accord.runtimes.onnx import load_onnxruntime
from quantize.int8.grid import HIGH, LOW, Grid, grid_of
from quantize.models import onnx_model
from quantize.network import Network

BATCH = 64
KEPT = 1 << 16
"""Values of one tensor on which grids are compared."""
SHRUNK = tuple(float(part) for part in np.linspace(1.0, 0.4, 13))
"""Parts of the full range that are tried: the best one has the least squared error."""

Array = npt.NDArray[Any]


def activations(network: Network, names: Sequence[str], rows: Array) -> dict[str, list[Array]]:
    """Return the values of tensors of the network on `rows` (N, *input_shape), batch by batch.

    Raises:
        UsageError: the rows do not fit the model, or give NaN or infinity.
    """
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    model = onnx_model(network, *(name for name in names if name != network.x))
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    asked = [name for name in names if name != network.x]
    found: dict[str, list[Array]] = {name: [] for name in names}
    for at in range(0, len(rows), BATCH):
        part = np.ascontiguousarray(rows[at : at + BATCH])
        try:
            values = session.run(asked, {network.x: part}) if asked else []
        except Exception as error:  # onnxruntime's own errors share no base class
            raise UsageError(f"the calibration rows do not fit the model: {str(error)[:300]}") from error
        for name, value in [(network.x, part), *zip(asked, values, strict=True)]:
            if name in found:
                found[name].append(value)
    for name, parts in found.items():
        if not all(np.isfinite(part).all() for part in parts):
            raise UsageError(f"tensor {name!r} is NaN or infinite on the calibration rows: look at the data")
    return found


def calibrated(network: Network, names: Sequence[str], rows: Array, *, symmetric: bool) -> Mapping[str, Grid]:
    """Return the int8 grid of each tensor that rounds its values on `rows` with the least squared error.

    Args:
        network: the float model, batch-norm folded.
        names: tensors of it.
        rows: real rows (N, *input_shape) as the model takes them; some hundreds are enough.
        symmetric: as for `grid_of`.

    Raises:
        UsageError: there are no rows, they do not fit, or a value is not finite.
    """
    if not len(rows):
        raise UsageError("calibration needs rows: give some hundred real ones with --calibrate DATA.npz")
    grids = {}
    for name, parts in activations(network, names, rows).items():
        values = np.concatenate([part.ravel() for part in parts])
        low, high = float(values.min()), float(values.max())
        some = values[:: max(1, values.size // KEPT)].astype(np.float64)
        tried = [grid_of(low * part, high * part, symmetric=symmetric) for part in SHRUNK]
        grids[name] = min(tried, key=lambda grid, some=some: _error(grid, some))  # type: ignore[misc]
    return grids


def _error(grid: Grid, values: npt.NDArray[np.float64]) -> float:
    steps = np.clip(np.rint(values / grid.scale) + grid.zero_point, LOW, HIGH)
    return float(((grid.scale * (steps - grid.zero_point) - values) ** 2).mean())
