"""Rows to learn from, split into training and test, and where they come from. Says nothing about how they are dealt."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError
from accord.npz import read_arrays
from simulation.idx import read_idx
from simulation.task import Kind, Task, infer_task

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
SOURCES = ("digits", "digits-images", "breast-cancer", "fashion-mnist")
HOW = (
    "write it with numpy.savez(FILE, x_train=..., y_train=..., c_train=..., x_test=..., y_test=..., c_test=...), "
    "where c_* is the device of each row"
)
ARRAYS = ("x_train", "y_train", "c_train", "x_test", "y_test", "c_test")
ALL = "(no device)"
"""The name under which dropped rows of data without `c_*` are counted."""


@dataclass(frozen=True, kw_only=True)
class DroppedRows:
    """How many rows of one device were left out because a value in them was NaN, infinite or past float32.

    Args:
        device: the device as it stands in `c_*`, as text; `ALL` for data without.
        train: rows that were dropped from training, 0 or more.
        test: rows that were dropped from the test, 0 or more.
    """

    device: str
    train: int
    test: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Examples of one learning problem; every array is read-only.

    Args:
        name: what the reports call it.
        x_train: (N, F), (N, T, F) or (N, C, H, W) float32, finite.
        y_train: (N,) finite numbers or text, not encoded.
        c_train: (N,) the device of each row, integers or text; None if the data has no devices of its own.
        x_test: (M, ...) float32 of the same row shape.
        y_test: (M,) of the same kind as `y_train`.
        c_test: (M,), given if and only if `c_train` is.
        dropped: devices that lost rows on the way in, in order of name.

    Raises:
        UsageError: an array has another shape or type, or values that nobody can learn from.
    """

    name: str
    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[Any]
    c_train: npt.NDArray[Any] | None
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[Any]
    c_test: npt.NDArray[Any] | None
    dropped: tuple[DroppedRows, ...] = ()

    def __post_init__(self) -> None:
        if (self.c_train is None) != (self.c_test is None):
            raise UsageError(f"{self.name}: c_train and c_test name the device of each row: give both, or neither")
        _check_part("train", self.x_train, self.y_train, self.c_train, self.name)
        _check_part("test", self.x_test, self.y_test, self.c_test, self.name)
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise UsageError(
                f"{self.name}: a row of x_train has shape {self.x_train.shape[1:]} and one of x_test "
                f"{self.x_test.shape[1:]}: they must agree",
            )
        if (self.y_train.dtype.kind == "U") != (self.y_test.dtype.kind == "U"):
            raise UsageError(f"{self.name}: one of y_train and y_test holds text and the other numbers")
        for field in ARRAYS:
            if (array := getattr(self, field)) is not None:
                array = array.view()
                array.flags.writeable = False
                object.__setattr__(self, field, array)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row of x: (F,), (T, F) for T steps of a sequence, or (C, H, W)."""
        return self.x_train.shape[1:]

    def task(self, kind: Kind | None = None) -> Task:
        """Return what the targets ask for; see `infer_task`."""
        return infer_task(np.concatenate([self.y_train, self.y_test]), kind)

    def encode(self, task: Task) -> "Dataset":
        """Return the same data with targets as a model takes them; see `Task.encode`."""
        return replace(self, y_train=task.encode(self.y_train), y_test=task.encode(self.y_test))


def _check_part(part: str, x: npt.NDArray[Any], y: npt.NDArray[Any], c: npt.NDArray[Any] | None, name: str) -> None:
    """Refuse the training or the test part for what is wrong with it."""
    if x.ndim not in (2, 3, 4) or x.dtype != np.float32 or min(x.shape) < 1:
        raise UsageError(
            f"{name}: x_{part} is {x.dtype} of shape {x.shape}: rows x features, rows x steps x features, or "
            "rows x channels x height x width, with at least one row that is finite",
        )
    if y.shape != x.shape[:1] or y.dtype.kind not in "biufU":
        raise UsageError(f"{name}: y_{part} is {y.dtype} of shape {y.shape}: one number or text per row of x_{part}")
    if not np.isfinite(x).all() or (y.dtype.kind == "f" and not np.isfinite(y).all()):
        raise UsageError(f"{name}: x_{part} or y_{part} holds NaN or infinity: drop these rows first")
    if c is not None and (c.shape != x.shape[:1] or c.dtype.kind not in "iuU"):
        raise UsageError(f"{name}: c_{part} is {c.dtype} of shape {c.shape}: one integer or text per row of x_{part}")


def load(source: str, *, rows: int | None = None, test_rows: int | None = None) -> Dataset:
    """Return a data set that is on this machine; nothing is downloaded.

    Args:
        source: one of `SOURCES`, or the path of a .npz file with `ARRAYS` (`c_*` may be left out).
        rows: keep this many training rows, the first ones; None keeps all.
        test_rows: the same for test rows.

    Raises:
        UsageError: the source is unknown, is not installed, or holds what can't be used.
    """
    if source in ("digits", "digits-images"):
        dataset = _digits(source)
    elif source == "breast-cancer":
        dataset = _breast_cancer()
    elif source == "fashion-mnist":
        return read_fashion_mnist(FASHION_MNIST, rows=rows, test_rows=test_rows)
    elif source.endswith(".npz"):
        dataset = read_npz(Path(source))
    else:
        if Path(source).is_file():
            raise UsageError(f"{source} is no .npz file: {HOW}")
        raise UsageError(f"data {source!r} is unknown: use {', '.join(SOURCES)}, or the path of a .npz file")
    return _first(dataset, rows, test_rows)


def read_npz(path: Path) -> Dataset:
    """Return the data of a person's own file; rows with a value that is not finite are dropped and counted.

    Raises:
        UsageError: the file can't be read safely, an array is missing, or has another length or type.
    """
    arrays = read_arrays(path, ARRAYS, HOW)
    missing = [name for name in ARRAYS if name not in arrays and not name.startswith("c_")]
    if missing:
        raise UsageError(f"{path} has no {', '.join(missing)}: {HOW}")
    if ("c_train" in arrays) != ("c_test" in arrays):
        raise UsageError(f"{path} has only one of c_train and c_test: give the device of each row in both, or in none")
    train, lost_train = _finite_part("train", arrays, path)
    test, lost_test = _finite_part("test", arrays, path)
    names = sorted(lost_train.keys() | lost_test.keys())
    return Dataset(
        name=path.name,
        x_train=train[0], y_train=train[1], c_train=train[2],
        x_test=test[0], y_test=test[1], c_test=test[2],
        dropped=tuple(DroppedRows(device=n, train=lost_train[n], test=lost_test[n]) for n in names),
    )  # fmt: skip


_Part = tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[Any] | None]


def _finite_part(part: str, arrays: dict[str, npt.NDArray[Any]], path: Path) -> tuple[_Part, Counter[str]]:
    """Return x as float32, y and c of the finite rows, and how many rows each device lost."""
    x, y, c = arrays[f"x_{part}"], arrays[f"y_{part}"], arrays.get(f"c_{part}")
    if x.dtype.kind not in "biuf" or x.ndim not in (2, 3, 4):
        way = f": reshape it with x_{part}[:, None]" if x.ndim == 1 else ""
        raise UsageError(
            f"x_{part} in {path} is {x.dtype} of shape {x.shape}: real numbers are needed, as rows x features, "
            f"rows x steps x features, or rows x channels x height x width{way}",
        )
    if 0 in x.shape:
        raise UsageError(
            f"x_{part} in {path} is empty, of shape {x.shape}: at least one row and one feature are needed"
        )
    y = _as_text(y, f"y_{part} in {path}")
    c = None if c is None else _as_text(c, f"c_{part} in {path}")
    for what, column, kinds, need in (("y", y, "biufU", "a number or text"), ("c", c, "iuU", "an integer or text")):
        if column is not None and (column.dtype.kind not in kinds or column.shape != x.shape[:1]):
            flat = f": flatten it with {what}_{part}.ravel()" if column.size == len(x) and column.ndim > 1 else ""
            raise UsageError(
                f"{what}_{part} in {path} is {column.dtype} of shape {column.shape}: {need} is needed for each of the "
                f"{x.shape[0]} rows of x_{part}{flat}",
            )
    with np.errstate(over="ignore"):  # what does not fit in float32 becomes infinite, and is dropped by name below
        x = np.ascontiguousarray(x, np.float32)
        usable = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
        if y.dtype.kind == "f":
            usable &= np.isfinite(y.astype(np.float32))
    lost: Counter[str] = Counter()
    if not usable.all():
        lost.update([ALL] * int((~usable).sum()) if c is None else [str(name) for name in c[~usable].tolist()])
        x, y, c = x[usable], y[usable], None if c is None else c[usable]
    if not x.shape[0]:
        raise UsageError(f"x_{part} in {path} has no row whose values are all finite: fill in or leave out the NaN")
    return (x, y, c), lost


def _as_text(column: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    """Return byte strings as text, and any other column as it is."""
    if column.dtype.kind != "S":
        return column
    try:
        return np.char.decode(column, "utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{where} holds bytes that are not UTF-8: store text") from None


def _digits(name: str) -> Dataset:
    """Return the digits of scikit-learn in 0 to 1, as 64 features or as 1 x 8 x 8 images."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - half a second that only this source needs

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    return _split(name, x.reshape(-1, 1, 8, 8) if name == "digits-images" else x, y)


def _breast_cancer() -> Dataset:
    """Return the breast cancer data of scikit-learn: 30 features, benign = 1."""
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - the same

    x, y = load_breast_cancer(return_X_y=True)
    return _split("breast-cancer", x.astype(np.float32), y)


def _split(name: str, x: npt.NDArray[np.float32], y: npt.NDArray[Any]) -> Dataset:
    """Return the data with every fifth row of each class for the test: the same on every machine, without a seed."""
    test = np.zeros(len(y), np.bool_)
    for label in np.unique(y):
        test[np.flatnonzero(y == label)[4::5]] = True
    return Dataset(
        name=name, x_train=x[~test], y_train=y[~test], c_train=None, x_test=x[test], y_test=y[test], c_test=None
    )


def read_fashion_mnist(folder: Path, *, rows: int | None = None, test_rows: int | None = None) -> Dataset:
    """Return Fashion-MNIST as 1 x 28 x 28 images in 0 to 1, with 10 classes, 60,000 + 10,000 rows.

    Args:
        folder: where the four idx.gz files of the Debian package lie.
        rows: read the first training rows only.
        test_rows: the same for test rows.

    Raises:
        UsageError: the package is not installed, or a file is broken.
    """
    _check_rows(rows)
    _check_rows(test_rows)
    parts = []
    for part, keep in (("train", rows), ("t10k", test_rows)):
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3, keep)
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1, keep)
        parts.append((images[:, None].astype(np.float32) / np.float32(255), labels.astype(np.int64)))
    (x_train, y_train), (x_test, y_test) = parts
    return Dataset(
        name="fashion-mnist", x_train=x_train, y_train=y_train, c_train=None, x_test=x_test, y_test=y_test, c_test=None
    )


def _check_rows(rows: int | None) -> None:
    """Refuse to keep no rows."""
    if rows is not None and rows < 1:
        raise UsageError(f"{rows} rows can't be learned from: keep at least 1")


def _first(dataset: Dataset, rows: int | None, test_rows: int | None) -> Dataset:
    """Return the data with its first rows only."""
    _check_rows(rows)
    _check_rows(test_rows)
    c_train, c_test = dataset.c_train, dataset.c_test
    return replace(
        dataset,
        x_train=dataset.x_train[:rows], y_train=dataset.y_train[:rows],
        c_train=None if c_train is None else c_train[:rows],
        x_test=dataset.x_test[:test_rows], y_test=dataset.y_test[:test_rows],
        c_test=None if c_test is None else c_test[:test_rows],
    )  # fmt: skip
