"""Data of one's own is read safely, and what is wrong with it is said by name."""

import gzip
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.errors import UsageError
from accord.npz import read_arrays
from simulation import datasets
from simulation.datasets import ALL, Dataset, DroppedRows, load, read_fashion_mnist

RNG = np.random.default_rng(1)


def arrays(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "x_train": RNG.normal(size=(12, 3)),
        "y_train": np.arange(12) % 2,
        "c_train": np.repeat(["a", "b", "c"], 4),
        "x_test": RNG.normal(size=(6, 3)),
        "y_test": np.arange(6) % 2,
        "c_test": np.repeat(["a", "b", "d"], 2),
    }
    values.update(changes)
    return {name: value for name, value in values.items() if value is not None}


def saved(folder: Path, **changes: Any) -> str:
    path = folder / "mine.npz"
    np.savez_compressed(path, **arrays(**changes))
    return str(path)


@pytest.mark.parametrize(
    ("source", "train", "test", "classes"),
    [
        ("digits", (1442, 64), (355, 64), 10),
        ("digits-images", (1442, 1, 8, 8), (355, 1, 8, 8), 10),
        ("breast-cancer", (456, 30), (113, 30), 2),
    ],
)
def test_scikit_learns_data_is_split_the_same_way_every_time(
    source: str, train: tuple[int, ...], test: tuple[int, ...], classes: int
) -> None:
    data, again = load(source), load(source)
    assert data.x_train.shape == train
    assert data.x_test.shape == test
    assert np.array_equal(data.x_test, again.x_test)
    assert len(data.task().classes) == classes
    share = np.bincount(data.y_test) / np.bincount(np.concatenate([data.y_train, data.y_test]))
    assert np.all(abs(share - 0.2) < 0.01)
    assert load(source, rows=50, test_rows=7).x_test.shape[0] == 7


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f2", "f4", "f8", ">f4", "?"])
def test_a_file_with_any_numeric_type_and_devices_by_name(tmp_path: Path, dtype: str) -> None:
    data = load(saved(tmp_path, x_train=np.ones((12, 2, 4, 4), dtype), x_test=np.ones((6, 2, 4, 4), dtype)))
    assert data.x_train.dtype == np.float32
    assert data.row_shape == (2, 4, 4)
    assert data.name == "mine.npz"
    assert data.c_train is not None
    assert data.c_train.tolist()[:5] == ["a"] * 4 + ["b"]
    with pytest.raises(ValueError, match="read-only"):
        data.x_train[0] = 1


def test_devices_may_be_integers_or_bytes_or_absent(tmp_path: Path) -> None:
    assert load(saved(tmp_path, c_train=np.arange(12), c_test=np.arange(6))).c_train is not None
    data = load(saved(tmp_path, c_train=np.array([b"k\xc3\xa4"] * 12), c_test=np.array([b"x"] * 6)))
    assert data.c_train is not None
    assert data.c_train[0] == "kä"
    assert load(saved(tmp_path, c_train=None, c_test=None)).c_test is None
    assert load(saved(tmp_path, x_train=np.asfortranarray(RNG.normal(size=(12, 3))))).x_train.flags.c_contiguous


def test_rows_that_are_not_finite_are_dropped_and_counted_by_device(tmp_path: Path) -> None:
    x = np.ones((12, 3))
    x[0, 0], x[1, 2], x[5, 1] = np.nan, np.inf, 1e300
    y = np.arange(6) / 7
    y[4] = np.nan
    data = load(saved(tmp_path, x_train=x, y_test=y, y_train=np.arange(12) / 7))
    assert len(data.x_train) == 9
    assert len(data.y_test) == 5
    assert data.dropped == (
        DroppedRows(device="a", train=2, test=0),
        DroppedRows(device="b", train=1, test=0),
        DroppedRows(device="d", train=0, test=1),
    )
    without = load(saved(tmp_path, x_train=x, c_train=None, c_test=None))
    assert without.dropped == (DroppedRows(device=ALL, train=3, test=0),)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x_test": None}, "has no x_test: write it with numpy.savez"),
        ({"x_train": None, "y_train": None}, "has no x_train, y_train"),
        ({"c_test": None}, "only one of c_train and c_test"),
        ({"y_train": np.zeros(11)}, "y_train .* for each of the 12 rows"),
        ({"c_train": np.zeros(3, int)}, "c_train .* for each of the 12 rows"),
        ({"c_train": np.zeros(12)}, "an integer or text is needed"),
        ({"y_test": np.zeros((6, 2))}, "y_test"),
        ({"y_test": np.zeros((6, 1))}, r"flatten it with y_test.ravel\(\)"),
        ({"x_train": np.ones((12, 3), complex)}, "real numbers"),
        ({"x_train": np.ones((12, 3), "M8[s]")}, "real numbers"),
        ({"x_train": np.ones(12)}, r"rows x features.*x_train\[:, None\]"),
        ({"x_train": np.ones((12, 3, 3, 3, 3))}, "rows x steps x features"),
        ({"x_train": np.array([["a"] * 3] * 12)}, "real numbers"),
        ({"x_train": np.full((12, 3), np.nan)}, "fill in or leave out"),
        ({"x_train": np.ones((0, 3)), "y_train": np.ones(0), "c_train": np.ones(0, int)}, "x_train .* is empty"),
        ({"x_train": np.ones((12, 0))}, "is empty"),
        ({"x_test": np.ones((6, 4))}, "they must agree"),
        ({"y_test": np.array(["a"] * 6)}, "text and the other numbers"),
        ({"y_train": np.ones(12, complex)}, "y_train"),
        ({"c_train": np.array([b"\xff"] * 12)}, "UTF-8"),
        ({"y_train": np.array([None] * 12, object)}, "Python objects"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_by_name(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load(saved(tmp_path, **changes))


class Evil:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (Evil, "ran", True))


def npy(data: Any, header: str | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(data), allow_pickle=True)
    if header is None:
        return stream.getvalue()
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + b"\0" * 64


def zipped(path: Path, **members: bytes) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name + ".npy", data)
    return str(path)


def test_a_pickle_never_runs(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    with pytest.raises(UsageError, match="never unpickled"):
        load(zipped(path, **{n: npy(np.array([Evil()], object)) for n in datasets.ARRAYS}))
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UsageError, match=r"not a whole \.npz"):
        load(str(path))
    assert not Evil.ran


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = Path(zipped(tmp_path / "bomb.npz", x_train=b"\0" * (1 << 24)))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(UsageError, match="16,777,216 bytes, more than"):
        read_arrays(path, ["x_train"], datasets.HOW, limit=1 << 20)
    assert read_arrays(path, ["y_train"], datasets.HOW, limit=1 << 20) == {}


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-8,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9,), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '<f8', 'fortran_order': False, }",
        "__import__('os').getpid()",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (8,), ",
        "((((((((((((((((((((",
        "'''",
        "{'descr': [], 'fortran_order': 3, 'shape': (8,), }",
        "{'descr': 'q' , 'fortran_order': False, 'shape': (True,), }",
        "{'descr': {'names': 1}, 'fortran_order': False, 'shape': (8,), }",
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(UsageError, match=r"not what it holds|not a \.npz file of plain arrays"):
        load(zipped(tmp_path / "lie.npz", x_train=npy(0, header)))


def test_broken_files_and_unknown_names(tmp_path: Path) -> None:
    whole = Path(saved(tmp_path)).read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(UsageError, match=r"not a whole \.npz"):
            load(str(tmp_path / "cut.npz"))
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        (tmp_path / "bad.npz").write_bytes(damaged)
        try:
            read = load(str(tmp_path / "bad.npz"))  # a flipped time stamp harms nobody
        except UsageError:
            continue
        assert read.x_train.shape == (12, 3)
    (tmp_path / "folder.npz").mkdir()
    for source, says in [
        ("nope.npz", "does not exist"),
        (str(tmp_path / "folder.npz"), "is a folder"),
        ("mnist", "is unknown: use digits"),
    ]:
        with pytest.raises(UsageError, match=says):
            load(source)
    with pytest.raises(UsageError, match="keep at least 1"):
        load("digits", rows=0)


def idx(shape: tuple[int, ...], data: bytes) -> bytes:
    head = bytes([0, 0, 8, len(shape)]) + b"".join(d.to_bytes(4, "big") for d in shape)
    return gzip.compress(head + data)


def test_fashion_mnist_is_read_from_the_package_or_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="apt-get install -y dataset-fashion-mnist"):
        read_fashion_mnist(tmp_path)
    for part, count in (("train", 20), ("t10k", 10)):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx((count, 2, 2), bytes([0, 51, 102, 255]) * count))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx((count,), bytes(range(10)) * (count // 10)))
    data = read_fashion_mnist(tmp_path, rows=15)
    assert data.x_train.shape == (15, 1, 2, 2)
    assert np.allclose(data.x_test[0].ravel(), [0, 0.2, 0.4, 1])
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    for content, says in [
        (idx((10,), b"123"), "cut short"),
        (idx((2, 2), b"1234"), "not an idx file"),
        (idx((1 << 31,), b""), "not an idx file"),
        (idx((10,), b"0123456789")[:-12], "broken"),
        (b"plain", "broken"),
    ]:
        labels.write_bytes(content)
        with pytest.raises(UsageError, match=says):
            read_fashion_mnist(tmp_path)


@pytest.mark.skipif(not datasets.FASHION_MNIST.exists(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_the_package() -> None:
    data = load("fashion-mnist", rows=10_000)
    assert data.x_train.shape == (10_000, 1, 28, 28)
    assert data.x_test.shape == (10_000, 1, 28, 28)
    assert np.bincount(data.y_test).tolist() == [1000] * 10
    assert float(data.x_train.max()) == 1.0


def test_a_value_built_by_hand_is_checked_too() -> None:
    good = load("digits", rows=10)
    fields = {n: getattr(good, n) for n in ("x_train", "y_train", "x_test", "y_test")}
    bad = np.full((10, 64), np.nan, np.float32)
    with pytest.raises(UsageError, match="NaN or infinity"):
        Dataset(name="x", c_train=None, c_test=None, **{**fields, "x_train": bad})
    with pytest.raises(UsageError, match="give both"):
        Dataset(name="x", c_train=np.zeros(10, int), c_test=None, **fields)
