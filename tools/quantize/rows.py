"""Real rows for `accord quantize`, from one .npz: checked against the model, and scaled as a fleet scales its own."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.bundle.manifest import REGRESSIONS
from accord.errors import UsageError
from accord.npz import read_arrays
from accord.update.snapshot import Scaling, columns_of, unscaled
from quantize.network import Network

HOW = "write it with numpy.savez(FILE, x=..., y=...); x_train and y_train are read too, and y may be left out"
CONSTANT = 2.0**-21
"""A column whose deviation is below this part of its largest magnitude is constant, and only its mean is taken off."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows and, if known, what is right for them.

    `x` is float32 (N, *input_shape) as the model takes it; `y` is (N,) or (N, outputs) as it was stored, or None;
    `scaling` is what was done to x, and what a fleet would do to regression targets.
    """

    x: npt.NDArray[np.float32]
    y: Array | None
    scaling: Scaling

    @property
    def columns(self) -> int:
        """Features, or channels."""
        return len(self.scaling.mean)


def read_rows(path: Path, input_shape: tuple[int, ...]) -> Rows:
    """Return the rows of a file, not scaled.

    Args:
        path: .npz with `x` (N, *input_shape) and, if known, `y`; or with `x_train` and `y_train`.
        input_shape: of one row.

    Raises:
        UsageError: the file is missing, broken or too large, or its rows do not fit.
    """
    arrays = read_arrays(path, ("x", "y", "x_train", "y_train"), HOW)
    part = "" if "x" in arrays else "_train"
    x, y = arrays.get(f"x{part}"), arrays.get(f"y{part}")
    if x is None:
        raise UsageError(f"{path} holds neither x nor x_train: {HOW}")
    needed = f"(rows, {', '.join(map(str, input_shape))})"
    if x.dtype.kind not in "biuf" or x.shape[1:] != input_shape:
        raise UsageError(
            f"x{part} in {path} is {x.dtype} of shape {x.shape}; the model takes numbers of shape {needed}"
        )
    if not len(x):
        raise UsageError(f"x{part} in {path} has no rows: some hundred real ones are needed")
    with np.errstate(over="ignore"):  # what does not fit in float32 becomes infinite, and is named below
        x = np.ascontiguousarray(x, np.float32)
    _check_finite(x, f"x{part} in {path}")
    if y is not None:
        if y.dtype.kind not in "biuf" or y.shape[:1] != x.shape[:1] or y.ndim > 2:
            raise UsageError(
                f"y{part} in {path} is {y.dtype} of shape {y.shape}: one number for each of the {len(x)} rows of "
                f"x{part} is needed"
            )
        _check_finite(y, f"y{part} in {path}")
    return Rows(x=x, y=y, scaling=unscaled(columns_of(input_shape)))


def checked_targets(rows: Rows, network: Network, loss: str) -> Rows:
    """Return the rows with targets as a runtime takes them: int64 (N,) for softmax, else float32.

    Raises:
        UsageError: a target is no class, or there are not as many per row as the model has outputs.
    """
    y = rows.y
    if y is None:
        return rows
    classes = {"softmax": network.outputs, "binary": 2}.get(loss)
    wide = loss != "softmax" and network.outputs > 1
    if y.size != len(rows.x) * (network.outputs if wide else 1):
        raise UsageError(f"y has shape {y.shape}: loss {loss} takes {network.outputs if wide else 1} of each row")
    y = y.reshape((-1, network.outputs) if wide else (-1,))
    if classes is not None:
        strange = y[~np.isin(y, np.arange(classes))]
        if strange.size:
            raise UsageError(
                f"y holds {strange.ravel()[0]}, and with loss {loss} the model knows the labels 0 to {classes - 1}: "
                f"number the classes from 0{'' if loss == 'binary' else ', or say more --outputs'}"
            )
    return replace(rows, y=y.astype(np.int64 if loss == "softmax" else np.float32))


def scaled(rows: Rows, loss: str, *, inputs: bool) -> Rows:
    """Return the rows as a fleet that had these alone would scale them; see docs/protocol.md, section 8.7.

    Args:
        rows: as they were read.
        loss: of regression, the targets have a mean and a deviation too.
        inputs: scale each column of x; else x stays as it is.
    """
    scaling = unscaled(rows.columns)
    if inputs:
        others = (0, *range(2, rows.x.ndim))
        wide = rows.x.astype(np.float64)
        factor = 1 / _deviation(wide, others)
        scaling = replace(scaling, mean=wide.mean(others).astype(np.float32), factor=factor.astype(np.float32))
    if loss in REGRESSIONS and rows.y is not None:
        y = rows.y.astype(np.float64)
        scaling = replace(scaling, target_mean=float(y.mean()), target_scale=float(_deviation(y, None)))
    return replace(rows, x=scaling.inputs(rows.x), scaling=scaling)


def _deviation(values: npt.NDArray[np.float64], axes: tuple[int, ...] | None) -> npt.NDArray[np.float64]:
    """Return the deviations, 1 where a column is constant."""
    found = np.asarray(values.std(axes))
    return np.where(found > CONSTANT * np.abs(values).max(axes), found, 1.0)


def _check_finite(values: Array, where: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        rows = int(bad.reshape(len(values), -1).any(1).sum())
        raise UsageError(
            f"{where} holds NaN or infinity in {rows} of {len(values)} rows: fill them in or leave them out"
        )
