"""A file that only grows: records behind their length and hash, and what is made of a torn end.

A record is its size (4 bytes, big-endian), its leaf hash (RFC 6962, 32 bytes) and its bytes. A record that was being
written when the power went is cut off by the next writer; nothing else of the file is ever changed.
"""

import fcntl
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from accord import merkle
from accord.files import PRIVATE, FileError, make_folder

if TYPE_CHECKING:
    from typing_extensions import Self

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


def frames(path: Path, *, start: int = 0, index: int = 0) -> Iterator[Frame]:
    """Read the records of a file, which another process may be appending to.

    A record that is damaged is given as such. The reading ends behind one that is not whole, or whose size is damaged.

    Args:
        path: the file.
        start: offset in bytes of the first record to read.
        index: the number of that record.

    Raises:
        FileError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            yield from _framed(file, start, index)
    except OSError as error:
        raise FileError(f"{path} can't be read: {error.strerror}; look at the path and its permissions") from error


def _framed(file: BinaryIO, at: int, index: int) -> Iterator[Frame]:
    while len(header := file.read(HEADER)) == HEADER:
        size, leaf = int.from_bytes(header[:4], "big"), header[4:]
        data = file.read(size) if size <= LARGEST else b""
        at += HEADER + len(data)
        whole = len(data) == size or size > LARGEST
        yield Frame(
            index=index,
            end=at,
            leaf=leaf,
            fits=len(data) == size and merkle.leaf_hash(data) == leaf,
            whole=whole,
            data=data,
        )
        if len(data) < size:
            return
        index += 1
    if header:
        yield Frame(index=index, end=at + len(header), leaf=b"", fits=False, whole=False, data=header)


def flush_folder(path: Path) -> None:
    """Make what was made or deleted in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class RecordFile:
    """The one writer of such a file, which holds a lock on it.

    Args:
        path: made if missing, with mode 0600; its folder too.
        kept: how many records are known to have been written whole: damage among them is an error, damage behind them
            is cut off. None if that is not known: then only a damaged last record is cut off.

    Raises:
        FileError: another process writes it, it is damaged, or it can't be read or written.
    """

    def __init__(self, path: Path, kept: int | None = None) -> None:
        self.path = path
        self.cut = 0
        """Bytes of a torn end that were cut off."""
        self._ends, self._broken = array("Q"), False
        make_folder(path.parent)
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, PRIVATE)
        except OSError as error:
            raise FileError(f"{path} can't be opened: {error.strerror}; look at its permissions") from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._opened(kept)
        except BlockingIOError as error:
            self.close()
            raise FileError(f"{path} is being written by another process: stop that one first") from error
        except OSError as error:
            self.close()
            raise FileError(f"{path} can't be written: {error.strerror}; look at free space and permissions") from error
        except FileError:
            self.close()
            raise

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._ends)

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def append(self, records: Sequence[bytes]) -> None:
        """Write records behind the last one; they are on the disk when this returns.

        Raises:
            FileError: the disk is full, read-only or failing: none of them counts.
        """
        if self._broken or self._handle < 0:
            raise FileError(f"{self.path} is not written any more: start again, so that it is read anew")
        if any(len(data) > LARGEST for data in records):
            raise FileError(f"{self.path} takes records of at most {LARGEST} bytes")
        before = self._end
        whole = b"".join(len(data).to_bytes(4, "big") + merkle.leaf_hash(data) + data for data in records)
        try:
            view = memoryview(whole)
            while view:
                view = view[os.write(self._handle, view) :]
            os.fsync(self._handle)
        except OSError as error:
            self._undo(before)
            raise FileError(
                f"{self.path} can't be written: {error.strerror}; look at free space and permissions"
            ) from error
        for data in records:
            self._ends.append(self._end + HEADER + len(data))

    def read(self, start: int, end: int) -> Iterator[Frame]:
        """Read records `start` to `end`, the end not included."""
        offset = self._ends[start - 1] if start else 0
        for frame in frames(self.path, start=offset, index=start):
            if frame.index >= end:
                return
            yield frame

    @property
    def _end(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _opened(self, kept: int | None) -> None:
        size, damaged = os.fstat(self._handle).st_size, None
        for frame in frames(self.path):
            if damaged is None and frame.fits:
                self._ends.append(frame.end)
                continue
            damaged = frame.index if damaged is None else damaged
            if kept is None and frame.index > damaged:
                raise FileError(f"{self.path}: record {damaged} is damaged: bring the file back from a copy")
        if len(self) < (kept or 0):
            raise FileError(f"{self.path}: record {len(self)} of {kept} is damaged or missing: bring back a newer copy")
        if size > self._end:
            self.cut = size - self._end
            os.ftruncate(self._handle, self._end)
        os.fsync(self._handle)
        flush_folder(self.path.parent)

    def _undo(self, before: int) -> None:
        """Take back a write that failed; what can't be taken back is cut off at the next start."""
        try:
            os.ftruncate(self._handle, before)
            os.fsync(self._handle)
        except OSError:
            self._broken = True
