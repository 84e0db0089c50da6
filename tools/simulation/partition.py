"""How the rows of one data set are dealt to devices. Changes no value; every row goes to exactly one device."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import CodecError, UsageError
from accord.ids import checked_device
from simulation.datasets import Dataset
from simulation.task import Kind

HOW = "use iid, dirichlet:ALPHA (such as dirichlet:0.3) or labels:K (such as labels:2)"
MAX_DEVICES = 100_000
TENTHS = 10
"""Regression targets have no labels: their tenths by size stand in for them."""

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A rule by which rows are dealt.

    Args:
        kind: "iid"; "dirichlet": each label's rows in proportions drawn from Dir(alpha), as in Hsu et al. 2019; or
            "labels": each device holds rows of a fixed number of labels only, as in McMahan et al. 2017.
        alpha: concentration, from 0.001 (one device per label) to 1e6 (nearly even); for "dirichlet" only.
        labels: labels per device, 1 or more; for "labels" only.

    Raises:
        UsageError: the kind is unknown or its number is out of range.
    """

    kind: Literal["iid", "dirichlet", "labels"]
    alpha: float = 0.0
    labels: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("iid", "dirichlet", "labels"):
            raise UsageError(f"partition {self.kind!r} is unknown: {HOW}")
        if self.kind == "dirichlet" and not 1e-3 <= self.alpha <= 1e6:
            raise UsageError(f"dirichlet:{self.alpha} is out of range: alpha goes from 0.001 to 1000000")
        if self.kind == "labels" and self.labels < 1:
            raise UsageError(f"labels:{self.labels} is out of range: each device needs at least one label")


def parse_scheme(text: str) -> Scheme:
    """Return the rule that a person wrote, such as "dirichlet:0.3".

    Raises:
        UsageError: the text is no rule.
    """
    kind, _, value = text.partition(":")
    try:
        if text == "iid":
            return Scheme(kind="iid")
        if kind == "dirichlet":
            return Scheme(kind="dirichlet", alpha=float(value))
        if kind == "labels":
            return Scheme(kind="labels", labels=int(value))
    except ValueError:
        pass
    raise UsageError(f"partition {text!r} is unknown: {HOW}")


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceData:
    """The rows that one device holds; arrays may be empty, and are copies of the device's own.

    Args:
        device: its id.
        x_train: (N, ...) float32.
        y_train: (N,) as in the data set.
        x_test: (M, ...) float32.
        y_test: (M,) as in the data set.

    Raises:
        UsageError: lengths differ.
        CodecError: the id can't stand in a topic.
    """

    device: str
    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[Any]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[Any]

    def __post_init__(self) -> None:
        checked_device(self.device)
        if len(self.x_train) != len(self.y_train) or len(self.x_test) != len(self.y_test):
            raise UsageError(f"{self.device}: x and y have different numbers of rows")


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """All devices with their rows.

    Args:
        devices: in order of id; ids are unique.
        origins: (id, the name in `c_*` as text) pairs in the same order; equal names for dealt data.
        scheme: the sentence that says how the rows were dealt.

    Raises:
        UsageError: there are no devices, or two have one id.
    """

    devices: tuple[DeviceData, ...]
    origins: tuple[tuple[str, str], ...]
    scheme: str

    def __post_init__(self) -> None:
        ids = [d.device for d in self.devices]
        if not ids or len(set(ids)) != len(ids) or [i for i, _ in self.origins] != ids:
            raise UsageError("a partition needs at least one device, each with an id of its own")

    @property
    def without_training(self) -> tuple[str, ...]:
        """Devices with no row to train on: they take part in evaluation only, or not at all."""
        return tuple(d.device for d in self.devices if not len(d.y_train))

    @property
    def without_rows(self) -> tuple[str, ...]:
        """Devices with no row at all."""
        return tuple(d.device for d in self.devices if not len(d.y_train) and not len(d.y_test))

    @property
    def one_label(self) -> tuple[str, ...]:
        """Devices whose training rows, one or more, all have the same target."""
        return tuple(d.device for d in self.devices if len(np.unique(d.y_train)) == 1)


def deal(dataset: Dataset, scheme: Scheme, devices: int, entropy: Entropy, kind: Kind | None = None) -> Partition:
    """Return the rows dealt to `devices` devices called dev-000, dev-001, and so on.

    Test rows of a label are dealt in the proportions of its training rows. A device may get no training rows where
    there are few or the proportions are steep: it is named in `without_training`.

    Args:
        dataset: data whose own `c_*`, if any, is not looked at.
        scheme: the rule.
        devices: how many, from 1 to `MAX_DEVICES`.
        entropy: a seeded source; the same one deals the same rows.
        kind: the task, which says whether targets are labels or numbers, dealt by their tenths; None infers it.

    Raises:
        UsageError: the number of devices is out of range, or too small to hold every label under `labels:K`.
    """
    if not 1 <= devices <= MAX_DEVICES:
        raise UsageError(f"{devices} devices can't be simulated: use 1 to {MAX_DEVICES}")
    rng = np.random.default_rng(int.from_bytes(entropy.child("partition")(32), "little"))
    strata_train, strata_test = _strata(dataset, kind)
    labels = np.unique(np.concatenate([strata_train, strata_test]))
    shares = _shares(scheme, len(labels), devices, rng)
    train: list[list[Indices]] = [[] for _ in range(devices)]
    test: list[list[Indices]] = [[] for _ in range(devices)]
    for label, proportions in zip(labels, shares, strict=True):
        for strata, parts in ((strata_train, train), (strata_test, test)):
            rows = rng.permutation(np.flatnonzero(strata == label))
            for part, piece in zip(parts, _cut(rows, proportions, rng), strict=True):
                part.append(piece)
    width = max(3, len(str(devices - 1)))
    ids = [f"dev-{i:0{width}d}" for i in range(devices)]
    return Partition(
        devices=tuple(
            _device(dataset, i, np.concatenate(a), np.concatenate(b)) for i, a, b in zip(ids, train, test, strict=True)
        ),
        origins=tuple((i, i) for i in ids),
        scheme=_sentence(scheme, devices),
    )


def by_owner(dataset: Dataset) -> Partition:
    """Return the rows as `c_train` and `c_test` say; a device of which every row was dropped is there too, empty.

    Raises:
        UsageError: the data has no devices of its own.
    """
    if dataset.c_train is None or dataset.c_test is None:
        raise UsageError(f"{dataset.name} has no c_train and c_test: choose a partition")
    train, test = _rows_of(dataset.c_train), _rows_of(dataset.c_test)
    names = device_ids(sorted(train.keys() | test.keys() | {d.device for d in dataset.dropped}))
    none = np.empty(0, np.intp)
    return Partition(
        devices=tuple(_device(dataset, i, train.get(name, none), test.get(name, none)) for i, name in names.items()),
        origins=tuple(names.items()),
        scheme=f"held by the {len(names)} devices of the data itself",
    )


def device_ids(names: Iterable[str]) -> dict[str, str]:
    """Return a valid, unique id for each name (id → name), in order of id.

    Whole numbers become dev-000 and so on; other names keep what can stand in a topic ("Hôpital A" → "hopital-a").
    """
    ids: dict[str, str] = {}
    listed = list(names)
    width = max([3, *(len(n) for n in listed if n.isascii() and n.isdecimal())])
    for name in listed:
        if name.isascii() and name.isdecimal() and width < 60:
            text = f"dev-{int(name):0{width}d}"
        else:
            plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
            text = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("._-")[:56].rstrip("._-") or "device"
        ids[_unused(text, ids)] = name
    return dict(sorted(ids.items()))


def _unused(text: str, taken: dict[str, str]) -> str:
    """Return `text`, with a number behind it if it is taken or reserved."""
    for count in range(1, len(taken) + 3):
        candidate = text if count == 1 else f"{text}-{count}"
        try:
            if candidate not in taken:
                return checked_device(candidate)
        except CodecError:
            continue
    raise UsageError(f"no device id could be made of {text!r}: rename the device in c_train and c_test")


def _rows_of(owners: npt.NDArray[Any]) -> dict[str, Indices]:
    """Return the rows of each device, by its name as text."""
    order = np.argsort(owners, kind="stable")
    names, starts = np.unique(owners[order], return_index=True)
    return {str(n): piece for n, piece in zip(names.tolist(), np.split(order, starts[1:]), strict=True)}


def _strata(dataset: Dataset, kind: Kind | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the label, or the tenth, of each training and test row."""
    if (kind or dataset.task().kind) != "regression":
        return dataset.y_train, dataset.y_test
    cuts = np.quantile(dataset.y_train, np.linspace(0, 1, TENTHS + 1)[1:-1])
    return np.searchsorted(cuts, dataset.y_train), np.searchsorted(cuts, dataset.y_test)


def _shares(scheme: Scheme, labels: int, devices: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return (labels, devices) proportions; each row sums to 1."""
    if scheme.kind == "iid":
        return np.full((labels, devices), 1 / devices)
    if scheme.kind == "dirichlet":
        drawn: npt.NDArray[np.float64] = rng.dirichlet(np.full(devices, scheme.alpha), labels)
        # With a tiny alpha every gamma variate can underflow to zero, and the quotient is NaN.
        broken = ~np.isfinite(drawn).all(axis=1)
        drawn[broken] = np.eye(devices)[rng.integers(devices, size=int(broken.sum()))]
        return drawn
    held = min(scheme.labels, labels)
    if devices * held < labels:
        raise UsageError(
            f"labels:{scheme.labels} lets {devices} devices hold {devices * held} of {labels} labels: "
            f"use at least {-(-labels // held)} devices, or labels:{-(-labels // devices)}",
        )
    holders: npt.NDArray[np.float64] = np.zeros((labels, devices))
    for device in range(devices):
        # The labels that fewest devices hold so far, ties in random order: all labels are held, about equally often.
        holders[np.lexsort((rng.random(labels), holders.sum(axis=1)))[:held], device] = 1
    holders /= holders.sum(axis=1, keepdims=True)
    return holders


def _cut(rows: Indices, proportions: npt.NDArray[np.float64], rng: np.random.Generator) -> list[Indices]:
    """Return the rows cut in proportion; devices come in random order so that rounding favours none of them."""
    order = rng.permutation(len(proportions))
    edges = np.round(np.cumsum(proportions[order]) * len(rows)).astype(np.intp)
    edges[-1] = len(rows)
    pieces = np.split(rows, edges[:-1])
    back: dict[int, Indices] = defaultdict(lambda: rows[:0])
    back.update(zip(order.tolist(), pieces, strict=True))
    return [back[i] for i in range(len(proportions))]


def _device(dataset: Dataset, device: str, train: Indices, test: Indices) -> DeviceData:
    """Return the device with these rows, in the order of the data set."""
    train, test = np.sort(train), np.sort(test)
    return DeviceData(
        device=device,
        x_train=dataset.x_train[train],
        y_train=dataset.y_train[train],
        x_test=dataset.x_test[test],
        y_test=dataset.y_test[test],
    )


def _sentence(scheme: Scheme, devices: int) -> str:
    """Return how rows were dealt."""
    number = {"iid": "", "dirichlet": f":{scheme.alpha:g}", "labels": f":{scheme.labels}"}[scheme.kind]
    return f"dealt to {devices} devices, {scheme.kind}{number}"
