"""Every row is dealt exactly once, by the rule that was asked for, the same way for the same seed."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import CodecError, UsageError
from accord.ids import checked_device
from simulation.datasets import Dataset, load
from simulation.partition import DeviceData, Partition, Scheme, by_owner, deal, device_ids, parse_scheme


def numbered(rows: int, test: int, labels: int, **fields: Any) -> Dataset:
    """A data set whose one feature is the row's own number."""
    rng = np.random.default_rng(rows)
    values: dict[str, Any] = {
        "name": "numbered",
        "x_train": np.arange(rows, dtype=np.float32)[:, None],
        "y_train": np.concatenate([np.arange(labels), rng.integers(labels, size=rows - labels)]),
        "c_train": None,
        "x_test": np.arange(test, dtype=np.float32)[:, None],
        "y_test": rng.integers(labels, size=test),
        "c_test": None,
    }
    return Dataset(**{**values, **fields})


def assert_each_row_once(data: Dataset, partition: Partition) -> None:
    for part in ("train", "test"):
        x = np.concatenate([getattr(d, f"x_{part}") for d in partition.devices])
        y = np.concatenate([getattr(d, f"y_{part}") for d in partition.devices])
        order = np.argsort(x[:, 0])
        assert np.array_equal(x[order], getattr(data, f"x_{part}"))
        assert np.array_equal(y[order], getattr(data, f"y_{part}"))


@settings(max_examples=60, deadline=None)
@given(
    scheme=st.sampled_from(["iid", "dirichlet:0.3", "dirichlet:0.001", "dirichlet:1000", "labels:2", "labels:99"]),
    rows=st.integers(30, 400),
    devices=st.integers(1, 40),
    labels=st.integers(2, 10),
    seed=st.integers(0, 1000),
)
def test_every_row_is_dealt_exactly_once(scheme: str, rows: int, devices: int, labels: int, seed: int) -> None:
    data = numbered(rows, rows // 3, labels)
    rule = parse_scheme(scheme)
    if scheme == "labels:2" and devices * 2 < labels:
        with pytest.raises(UsageError, match="use at least"):
            deal(data, rule, devices, SeededEntropy(seed))
        return
    partition = deal(data, rule, devices, SeededEntropy(seed))
    assert_each_row_once(data, partition)
    assert [d.device for d in partition.devices] == [f"dev-{i:03d}" for i in range(devices)]
    assert partition.without_training == tuple(d.device for d in partition.devices if not len(d.x_train))
    again = deal(data, rule, devices, SeededEntropy(seed))
    for one, two in zip(partition.devices, again.devices, strict=True):
        assert np.array_equal(one.x_train, two.x_train)
        assert np.array_equal(one.x_test, two.x_test)


def shares(data: Dataset, partition: Partition, part: str) -> Any:
    labels = len(np.unique(data.y_train))
    counts = np.array([np.bincount(getattr(d, f"y_{part}"), minlength=labels) for d in partition.devices])
    return counts / counts.sum(axis=0)


@pytest.mark.parametrize("scheme", ["iid", "dirichlet:0.3", "labels:2"])
def test_test_rows_follow_the_label_proportions_of_training(scheme: str) -> None:
    data = numbered(20_000, 5000, 10)
    partition = deal(data, parse_scheme(scheme), 10, SeededEntropy(3))
    train, test = shares(data, partition, "train"), shares(data, partition, "test")
    assert abs(train - test).max() < 0.01
    if scheme == "iid":
        assert abs(train - 0.1).max() < 0.01
    if scheme == "labels:2":
        assert ((train > 0).sum(axis=1) == 2).all()
        assert ((train > 0).sum(axis=0) == 2).all()
    if scheme == "dirichlet:0.3":
        assert train.max() > 0.4
    other = deal(data, parse_scheme(scheme), 10, SeededEntropy(4))
    assert not np.array_equal(other.devices[0].x_train, partition.devices[0].x_train)


def test_numbers_are_dealt_by_their_tenths() -> None:
    y = np.random.default_rng(0).normal(size=1000)
    data = numbered(1000, 10, 2, y_train=y, y_test=y[:10])
    partition = deal(data, parse_scheme("labels:1"), 10, SeededEntropy(0))
    assert_each_row_once(data, partition)
    spans = sorted((d.y_train.min(), d.y_train.max()) for d in partition.devices)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_the_task_that_was_asked_for_says_what_a_label_is() -> None:
    y = np.arange(1000) % 200
    data = numbered(1000, 10, 2, y_train=y, y_test=y[:10])
    whole = deal(data, parse_scheme("labels:20"), 10, SeededEntropy(0), "classification")
    assert all(len(np.unique(d.y_train)) == 20 for d in whole.devices)
    tenths = deal(data, parse_scheme("labels:1"), 10, SeededEntropy(0))
    assert all(np.ptp(d.y_train) <= 20 for d in tenths.devices)


def test_devices_of_the_data_keep_their_rows_and_their_names() -> None:
    owners = np.array(["Hôpital A", "b", "Hopital a", "b", "tests only"])
    data = numbered(4, 5, 2, c_train=owners[[0, 1, 2, 3]], c_test=owners)
    partition = by_owner(data)
    assert_each_row_once(data, partition)
    assert partition.origins == (
        ("b", "b"), ("hopital-a", "Hopital a"), ("hopital-a-2", "Hôpital A"), ("tests-only", "tests only"),
    )  # fmt: skip
    assert partition.without_training == ("tests-only",)
    assert partition.without_rows == ()
    assert partition.one_label[-2:] == ("hopital-a", "hopital-a-2")
    assert partition.devices[0].x_train.ravel().tolist() == [1, 3]


def test_a_device_that_lost_every_row_is_still_named(tmp_path: Path) -> None:
    x = np.ones((6, 2))
    x[4:] = np.nan
    np.savez(
        tmp_path / "d.npz",
        x_train=x, y_train=np.arange(6) % 2, c_train=[3, 3, 12, 12, 7, 7],
        x_test=np.ones((2, 2)), y_test=[0, 1], c_test=[3, 12],
    )  # fmt: skip
    partition = by_owner(load(str(tmp_path / "d.npz")))
    assert partition.origins == (("dev-003", "3"), ("dev-007", "7"), ("dev-012", "12"))
    assert partition.without_rows == ("dev-007",)


@given(st.lists(st.text(max_size=80), unique=True, max_size=30))
def test_any_name_becomes_a_valid_id_of_its_own(names: list[str]) -> None:
    ids = device_ids(names)
    assert sorted(ids.values()) == sorted(names)
    for device in ids:
        checked_device(device)


def test_names_that_collide_or_are_reserved() -> None:
    assert set(device_ids(["aggregator", "A", "a", "a-2", "", "Ω", "-5", "9" * 70])) >= {"aggregator-2", "a", "a-2"}
    assert device_ids(["0001", "1"]) == {"dev-0001": "0001", "dev-0001-2": "1"}


@pytest.mark.parametrize(
    "text",
    ["", "IID", "iid:", "iid:3", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:nan", "dirichlet:inf",
     "dirichlet:-1", "labels", "labels:0", "labels:1.5", "labels:-2", "shards:2"],
)  # fmt: skip
def test_what_is_no_rule_is_refused_with_the_rules(text: str) -> None:
    with pytest.raises(UsageError, match=r"out of range|use iid, dirichlet:ALPHA"):
        parse_scheme(text)


def test_limits() -> None:
    data = numbered(30, 5, 2)
    for devices in (0, -1, 100_001):
        with pytest.raises(UsageError, match="can't be simulated"):
            deal(data, Scheme(kind="iid"), devices, SeededEntropy(0))
    with pytest.raises(UsageError, match="choose a partition"):
        by_owner(data)
    with pytest.raises(UsageError, match="is unknown"):
        Scheme(kind="sorted")  # type: ignore[arg-type]
    x, y = data.x_train, data.y_train
    with pytest.raises(UsageError, match="different numbers"):
        DeviceData(device="a", x_train=x, y_train=y[1:], x_test=x, y_test=y)
    with pytest.raises(CodecError):
        DeviceData(device="A!", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(UsageError, match="an id of its own"):
        Partition(devices=(), origins=(), scheme="")
