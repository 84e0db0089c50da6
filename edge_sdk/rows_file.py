"""A device's own rows as they lie on its disk: one .npz, read without pickle and held against the bundle's model."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from accord.bundle.manifest import Specification
from accord.errors import UsageError
from edge_sdk.rows import Rows

LARGEST = 1 << 31  # bytes
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_HOW = "write it with numpy.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"


def read_rows(path: Path, model: Specification) -> Rows:
    """Return the rows in `path`; parts may be empty.

    Args:
        path: .npz with x_* of shape (N, *input shape), finite numbers, and y_* of shape (N,): class indices from 0
            (0 and 1 of a binary model), or numbers.
        model: of the bundle that will train on them.

    Raises:
        UsageError: the file is missing, too large or no such .npz, or its rows do not fit the model.
    """
    import zipfile  # noqa: PLC0415 - a device with an example store reads no .npz

    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST} bytes")
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile) or not set(ARRAYS) <= set(found):
                raise UsageError(f"{path} does not hold {', '.join(ARRAYS)}: {_HOW}")
            arrays = {name: found[name] for name in ARRAYS}
    except OSError as error:
        raise UsageError(f"the rows in {path} can't be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is not a .npz of plain numbers: {_HOW}") from error
    for part in ("train", "test"):
        _check(path, part, arrays[f"x_{part}"], arrays[f"y_{part}"], model)
    return Rows(**arrays)


def _check(path: Path, part: str, x: npt.NDArray[np.generic], y: npt.NDArray[np.generic], model: Specification) -> None:
    if x.dtype.kind not in "biuf" or x.shape[1:] != model.input_shape:
        raise UsageError(
            f"x_{part} in {path} is {x.dtype} of shape {x.shape}; the bundle's model takes numbers of shape "
            f"(rows, {', '.join(map(str, model.input_shape))})"
        )
    if y.dtype.kind not in "biuf" or y.shape != x.shape[:1]:
        raise UsageError(f"y_{part} in {path} is {y.dtype} of shape {y.shape}: one number for each row of x_{part}")
    if not np.isfinite(y).all():
        raise UsageError(f"y_{part} in {path} holds NaN or infinity: leave these rows out")
    classes = {"softmax": model.outputs, "binary": 2}.get(model.loss)
    if classes is not None and len(y) and not (np.isin(y, np.arange(classes))).all():
        strange = y[~np.isin(y, np.arange(classes))][0]
        raise UsageError(f"y_{part} in {path} holds {strange}; the bundle's model knows the labels 0 to {classes - 1}")
