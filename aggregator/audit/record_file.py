"""A file that only grows: records behind their length and hash, and what is made of a torn end.

A record is its size (4 bytes, big-endian), its leaf hash (RFC 6962, 32 bytes) and its bytes. A record that was being
written when the power went is cut off by the next writer; nothing else of the file is ever changed.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accord import merkle
from accord.files import DISK, Disk, FileError

HEADER = 4 + merkle.SIZE
LARGEST = 1 << 16
"""Bytes of a record; a longer size is a damaged one."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One record as it lies there.

    `end` is the offset behind it, `fits` whether its hash is that of its bytes, `whole` whether it is all there.
    """

    index: int
    end: int
    leaf: bytes
    fits: bool
    whole: bool = True
    data: bytes = field(repr=False)


def frames(path: Path, *, start: int = 0, index: int = 0, disk: Disk = DISK) -> Iterator[Frame]:
    """Read the records of a file, which another process may be appending to.

    A record that is damaged is given as such. The reading ends behind one that is not whole, or whose size is damaged.

    Args:
        path: the file.
        start: offset in bytes of the first record to read.
        index: the number of that record.
        disk: where the file lies.

    Raises:
        FileError: the file can't be read.
    """
    left, at = b"", start
    for piece in disk.stream(path, start):
        left, begin = left + piece, 0
        while len(left) - begin >= HEADER:
            size, leaf = int.from_bytes(left[begin : begin + 4], "big"), left[begin + 4 : begin + HEADER]
            if size > LARGEST:
                yield Frame(index=index, end=at + begin + HEADER, leaf=leaf, fits=False, data=b"")
                return
            end = begin + HEADER + size
            if end > len(left):
                break
            data = left[begin + HEADER : end]
            yield Frame(index=index, end=at + end, leaf=leaf, fits=merkle.leaf_hash(data) == leaf, data=data)
            begin, index = end, index + 1
        at, left = at + begin, left[begin:]
    if left:
        yield Frame(index=index, end=at + len(left), leaf=b"", fits=False, whole=False, data=left)


class RecordFile:
    """The one writer of such a file.

    Args:
        path: made if missing, with mode 0600; its folder exists.
        kept: how many records are known to have been written whole: damage among them is an error, damage behind them
            is cut off. None if that is not known: then only a damaged last record is cut off.
        disk: where the file lies.

    Raises:
        FileError: it is damaged, or can't be read or written.
    """

    def __init__(self, path: Path, kept: int | None = None, disk: Disk = DISK) -> None:
        self.path = path
        self.cut = 0
        """Bytes of a torn end that were cut off."""
        self._disk, self._ends = disk, array("Q")
        disk.append(path, b"")
        size, damaged = disk.size(path), None
        for frame in frames(path, disk=disk):
            if damaged is None and frame.fits:
                self._ends.append(frame.end)
                continue
            damaged = frame.index if damaged is None else damaged
            if kept is None and frame.index > damaged:
                raise FileError(f"{path}: record {damaged} is damaged: bring the file back from a copy")
        if len(self) < (kept or 0):
            raise FileError(f"{path}: record {len(self)} of {kept} is damaged or missing: bring back a newer copy")
        self.cut = size - self._end
        # Also when nothing is torn: what a process wrote that was killed may still lose its power.
        disk.cut(path, self._end)

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, records: Sequence[bytes]) -> None:
        """Write records behind the last one; they are on the disk when this returns.

        Raises:
            FileError: the disk is full, read-only or failing: none of them counts.
        """
        if any(len(data) > LARGEST for data in records):
            raise FileError(f"{self.path} takes records of at most {LARGEST} bytes")
        if self._disk.size(self.path) != self._end:  # a write failed, and could not be taken back
            raise FileError(f"{self.path} is not as it was left: stop everything that writes it, and start again")
        whole = b"".join(len(data).to_bytes(4, "big") + merkle.leaf_hash(data) + data for data in records)
        self._disk.append(self.path, whole)
        for data in records:
            self._ends.append(self._end + HEADER + len(data))

    def read(self, start: int, end: int) -> Iterator[Frame]:
        """Read records `start` to `end`, the end not included."""
        offset = self._ends[start - 1] if start else 0
        for frame in frames(self.path, start=offset, index=start, disk=self._disk):
            if frame.index >= end:
                return
            yield frame

    @property
    def _end(self) -> int:
        return self._ends[-1] if self._ends else 0
