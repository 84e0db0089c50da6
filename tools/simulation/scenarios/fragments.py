"""Pieces of files of the Python packages on this machine, by kind of file: each package is one device.

A file's beginning names its kind; a piece from its middle does not. Files are only read, and nothing is kept of them.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError
from simulation.datasets import Dataset

SIZE = 512
"""Bytes of a piece."""
KINDS: Mapping[str, str] = {
    ".py": "python", ".c": "c", ".h": "c", ".so": "elf", ".csv": "csv", ".gz": "gzip", ".ttf": "ttf",
    ".f90": "fortran", ".onnx": "onnx", ".txt": "txt",
}  # fmt: skip
PACKAGES = ("scipy", "scikit-learn", "numpy", "onnx", "librt", "mypy", "matplotlib", "onnxruntime")
"""Packages with files of several kinds, all of them in this project's own environment."""
FILES, LEAST, TESTED = 60, 3, 4
"""Files of one kind of one package that are read, and from how many on; every fourth one is kept for the test."""


def fragments(packages: Sequence[str], *, rows: int, seed: int = 0) -> Dataset:
    """Return pieces of files as rows of `SIZE` bytes, float32, labelled with the kind of file.

    Args:
        packages: names of installed distributions, one device each; those that are not here are left out.
        rows: the most training rows.
        seed: chooses files and places.

    Raises:
        UsageError: fewer than three packages have files to learn from.
    """
    rng = np.random.default_rng(seed)
    pieces: list[npt.NDArray[np.uint8]] = []
    labels: list[str] = []
    devices: list[str] = []
    tested: list[bool] = []
    for package in packages:
        for kind, paths in _files(package).items():
            chosen = [paths[place] for place in rng.permutation(len(paths))[:FILES]]
            for place, path in enumerate(chosen if len(chosen) >= LEAST else []):
                data = np.fromfile(path, np.uint8)
                for _ in range(max(1, FILES // len(chosen))):
                    at = int(rng.integers(0, len(data) - SIZE + 1))
                    pieces.append(data[at : at + SIZE])
                    labels.append(kind)
                    devices.append(package)
                    tested.append(place % TESTED == 0)
    if len(set(devices)) < 3:
        raise UsageError(f"the packages {', '.join(packages)} are not here: uv sync, or pip install three of them")
    x = np.stack(pieces).astype(np.float32)
    y, c, test = np.array(labels), np.array(devices), np.array(tested)
    train = np.flatnonzero(~test)
    train = np.sort(rng.permutation(train)[:rows])
    return Dataset(
        name="pieces of files",
        x_train=x[train], y_train=y[train], c_train=c[train],
        x_test=x[test], y_test=y[test], c_test=c[test],
    )  # fmt: skip


def _files(package: str) -> dict[str, list[Path]]:
    """Return a distribution's files by kind, those from which a piece can be cut."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return {}
    kinds: dict[str, list[Path]] = {}
    for entry in sorted(found.files or [], key=str):
        path = Path(str(entry.locate()))
        if entry.suffix in KINDS and path.is_file() and path.stat().st_size >= 2 * SIZE:
            kinds.setdefault(KINDS[entry.suffix], []).append(path)
    return kinds
