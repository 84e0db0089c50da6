"""The examples that an app gives its device: bounded in count, bytes and age, safe against power cuts, and erasable.

They lie in segment files that only grow, and whose oldest goes first. An example that is over a bound is not read any
more at once; its bytes go with its segment, which holds at most an eighth of each bound.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError
from accord.files import DISK, Disk, FileError
from accord.values import dataclass
from edge_sdk.bounds import PARTS, Bounds
from edge_sdk.clock import ClockState, Moment
from edge_sdk.example_record import LARGEST, TYPES, Broken, ExampleRecord, framed, unframed
from edge_sdk.rows import Array, Rows

SPLITS = ("train", "test")
TEST_SHARE = 51
"""Of 256: examples without a split go to `test` by a digest of themselves, so that the same one is never in both."""
_SUFFIX = ".examples"
_OVERHEAD = 256
"""Bytes of a frame beside its arrays, at most."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Examples that can't be read: those from an offset of a segment file on."""

    segment: str
    lost: int  # bytes
    reason: str  # "torn" by a power cut while they were added, or "damaged"


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One record, without its arrays."""

    time: int
    rows: int


@dataclasses.dataclass
class _Segment:
    name: str
    size: int
    entries: list[_Entry]
    closed: bool = False

    @property
    def rows(self) -> int:
        return sum(entry.rows for entry in self.entries)


class ExampleStore:
    """The store.

    Args:
        folder: made if missing, with mode 0700; nobody else writes there.
        moment: tells the time; nothing is too old while the clock is not good.
        bounds: how much is kept.
        disk: that the folder lies on.

    Raises:
        FileError: the folder can't be made or read.
    """

    def __init__(
        self,
        folder: Path,
        moment: Callable[[], Moment],
        bounds: Bounds | None = None,
        disk: Disk = DISK,
        *,
        erasing: Callable[[], None] = lambda: None,
    ) -> None:
        self._erasing = erasing
        self._folder, self._moment, self._disk = disk.make_folder(folder), moment, disk
        self._bounds = Bounds() if bounds is None else bounds
        self._kind: tuple[str, tuple[int, ...], str] | None = None
        self._segments: list[_Segment] = []
        self.damage: list[Damage] = []
        for name in disk.names(folder):
            if name.endswith(_SUFFIX):
                found, known = _Segment(name, disk.size(folder / name), []), len(self.damage)
                self._segments.append(found)
                for record in self._read(found):
                    found.entries.append(_Entry(time=record.time, rows=record.rows))
                    self._kind = self._kind or record.kind
                found.closed = len(self.damage) > known  # nothing is added behind what can't be read
        self._last = int(self._segments[-1].name.split(".")[0]) if self._segments else 0

    def __len__(self) -> int:
        """The examples that are within the bounds."""
        oldest = self._oldest()
        rows = sum(e.rows for s in self._segments for e in s.entries if e.time >= oldest)
        return min(rows, self._bounds.max_examples)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def add(self, x: npt.ArrayLike, y: npt.ArrayLike, split: str | None = None) -> None:
        """Keep examples; they are on disk when this returns.

        Args:
            x: (N, ...) rows, all of one shape and type for the whole store.
            y: (N,) class indices or numbers.
            split: `train` or `test`; by default a fifth goes to `test`, by a digest of the example.

        Raises:
            UsageError: shapes or types that do not fit, or NaN.
            FileError: the disk is full, read-only or not ours; some of the rows may have been kept, each whole.
        """
        xs, ys = _checked(x, y)
        kind = (xs.dtype.str, xs.shape[1:], ys.dtype.str)
        if self._kind is not None and kind != self._kind:
            raise UsageError(f"the store holds rows of {self._kind}, not of {kind}: convert them, or erase the store")
        if split is not None and split not in SPLITS:
            raise UsageError(f"split {split!r} is unknown: use {' or '.join(SPLITS)}")
        test = _drawn(xs, ys) if split is None else np.full(len(ys), split == "test")
        now = self._moment().now
        for name, chosen in (("train", ~test), ("test", test)):
            for record in self._records(name, now, xs[chosen], ys[chosen]):
                self._append(record)
        if len(ys):
            self._kind = kind
        self._drop()

    def rows(self, input_shape: tuple[int, ...]) -> Rows:
        """Return the examples within the bounds, oldest first.

        Args:
            input_shape: of one row, for a store without examples.

        Raises:
            UsageError: the rows have another shape.
            FileError: the disk is read-only or not ours.
        """
        if self._kind is not None and int(np.prod(self._kind[1])) != int(np.prod(input_shape)):
            raise UsageError(f"the examples have shape {self._kind[1]} where the model takes {input_shape}")
        self._drop()
        oldest, left = self._oldest(), self._bounds.max_examples
        parts: dict[str, list[tuple[Array, Array]]] = {name: [] for name in SPLITS}
        for segment in reversed(self._segments):
            for record in reversed(list(self._read(segment))):
                if left and record.time >= oldest:
                    x, y = record.arrays()
                    take = min(left, record.rows)
                    left -= take
                    parts[record.split].append((x[-take:], y[-take:]))
        if self._kind is None:
            empty = (np.empty((0, *input_shape), np.float32), np.empty(0, np.int64))
        else:
            empty = (np.empty((0, *self._kind[1]), self._kind[0]), np.empty(0, self._kind[2]))
        joined = {}
        for name, found in parts.items():
            pairs = found[::-1] or [empty]
            joined[f"x_{name}"] = np.concatenate([x for x, _ in pairs])
            joined[f"y_{name}"] = np.concatenate([y for _, y in pairs])
        return Rows(**joined)

    def erase(self) -> int:
        """Delete every example, and what else was made of them first; return how many files of examples that were.

        Raises:
            FileError: a file can't be deleted.
        """
        self._erasing()
        names = [name for name in self._disk.names(self._folder) if name.endswith(_SUFFIX)]
        for name in names:
            self._disk.remove(self._folder / name)
        self._segments, self._kind, self.damage = [], None, []
        return len(names)

    def _oldest(self) -> int:
        """Return the time before which examples are too old; 0 while the clock is not good."""
        moment = self._moment()
        return moment.now - self._bounds.max_age if moment.state is ClockState.GOOD else 0

    def _records(self, split: str, now: int, x: Array, y: Array) -> Iterator[ExampleRecord]:
        each = x[:1].nbytes + y[:1].nbytes
        most = min(self._bounds.segment, LARGEST) - _OVERHEAD
        if each > most:
            raise UsageError(f"one example of {each} bytes is more than an eighth of max_bytes: raise it")
        count = min(most // max(1, each), self._bounds.max_examples // PARTS)
        for at in range(0, len(y), count):
            xs, ys = np.ascontiguousarray(x[at : at + count]), np.ascontiguousarray(y[at : at + count])
            yield ExampleRecord(
                time=now,
                split=split,
                x_type=xs.dtype.str,
                x_shape=xs.shape,
                x=xs.tobytes(),
                y_type=ys.dtype.str,
                y=ys.tobytes(),
            )

    def _append(self, record: ExampleRecord) -> None:
        data, bounds = framed(record), self._bounds
        while self._segments and self.size + len(data) > bounds.max_bytes:
            self._remove_first()
        if not self._segments or not self._takes(self._segments[-1], len(data), record):
            self._last += 1
            self._segments.append(_Segment(f"{self._last:012d}{_SUFFIX}", 0, []))
        segment = self._segments[-1]
        path = self._folder / segment.name
        try:
            self._disk.append(path, data)
        except FileError:
            segment.closed = True  # what is at its end is not known; the next one begins a new file
            raise
        segment.size += len(data)
        segment.entries.append(_Entry(time=record.time, rows=record.rows))

    def _takes(self, segment: _Segment, size: int, record: ExampleRecord) -> bool:
        bounds = self._bounds
        return (
            not segment.closed
            and segment.size + size <= bounds.segment
            and segment.rows + record.rows <= max(1, bounds.max_examples // PARTS)
            and (not segment.entries or record.time - segment.entries[0].time <= bounds.max_age // PARTS)
        )

    def _drop(self) -> None:
        """Delete the oldest segments while all that they hold is over a bound."""
        oldest, total = self._oldest(), sum(segment.rows for segment in self._segments)
        while self._segments:
            first = self._segments[0]
            crowded = total - first.rows >= self._bounds.max_examples
            if not crowded and any(entry.time >= oldest for entry in first.entries):
                return
            if not first.entries and first is self._segments[-1]:
                return  # damaged and alone: it is told until there is something newer
            total -= first.rows
            self._remove_first()

    def _remove_first(self) -> None:
        self._disk.remove(self._folder / self._segments[0].name)
        del self._segments[0]

    def _read(self, segment: _Segment) -> Iterator[ExampleRecord]:
        """Yield a segment's records as far as they can be read; what can't is named in `damage`."""
        try:
            data = self._disk.read_limited(self._folder / segment.name, max(segment.size, 1))
        except FileError as error:
            self._note(Damage(segment=segment.name, lost=segment.size, reason=error.reason or "damaged"))
            return
        for found in unframed(data):
            if isinstance(found, Broken):
                self._note(Damage(segment=segment.name, lost=len(data) - found.at, reason=found.reason))
            elif self._kind is None or found.kind == self._kind:
                yield found

    def _note(self, damage: Damage) -> None:
        if damage not in self.damage:
            self.damage.append(damage)


def _checked(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Array, Array]:
    arrays: list[Array] = []
    for name, value in (("x", x), ("y", y)):
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise UsageError(f"{name} holds {array.dtype}, not numbers")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in TYPES:
            raise UsageError(f"{name} holds {array.dtype}: use one of {', '.join(TYPES)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError(f"{name} holds NaN or infinity: leave such examples out or fill them in")
        arrays.append(array)
    xs, ys = arrays
    if xs.ndim < 1 or ys.ndim != 1 or len(xs) != len(ys):
        raise UsageError(f"x of shape {xs.shape} and y of shape {ys.shape} are not N rows and N labels")
    return xs, ys


def _drawn(x: Array, y: Array) -> npt.NDArray[np.bool_]:
    """Return for each example whether it goes to `test`."""
    return np.array(
        [
            hashlib.blake2b(x[at].tobytes() + y[at].tobytes(), digest_size=1).digest()[0] < TEST_SHARE
            for at in range(len(y))
        ],
        bool,
    )
