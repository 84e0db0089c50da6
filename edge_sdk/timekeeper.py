"""The clocks of this machine behind the rule of `edge_sdk.clock`, and what is remembered of time on disk."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from accord.errors import CodecError
from accord.files import DISK, Disk
from accord.records import Int, Record, field
from accord.values import dataclass
from edge_sdk.clock import Clock, Known, Moment

SAVED_EACH = 3_600
"""Seconds of the wall clock after which it is written again: flash wears, and an hour is near enough."""
_SECONDS = Int(0, 2**48)


def steady() -> float:
    """Return seconds that go on while the machine sleeps, where the system can count them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, kw_only=True)
class KnownRecord(Record):
    """What is remembered, on disk."""

    LIMIT: ClassVar[int] = 64

    signed: int = field(_SECONDS)
    seen: int = field(_SECONDS)


class Timekeeper:
    """Tells the time and remembers it.

    Args:
        path: the file; its folder exists. A damaged one counts as nothing known.
        disk: that it lies on.
        wall: seconds since 1970.
        steady: seconds that never jump.

    Raises:
        FileError: the file can't be read.
    """

    def __init__(
        self,
        path: Path,
        disk: Disk = DISK,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady,
    ) -> None:
        self._path, self._disk, self._wall, self._steady = path, disk, wall, steady
        self._saved = _load(path, disk)
        self._clock = Clock(self._saved, steady=steady())

    def moment(self) -> Moment:
        """Return the time, and write it down now and then.

        Raises:
            FileError: the disk is full, read-only or not ours.
        """
        found = self.peek()
        self._save()
        return found

    def peek(self) -> Moment:
        """Return the time, and write nothing."""
        return self._clock.read(wall=max(0.0, self._wall()), steady=self._steady())

    def signed(self, seconds: int) -> None:
        """Take a time that the aggregator signed, and write it down.

        Raises:
            FileError: the disk is full, read-only or not ours.
        """
        self._clock.signed(seconds, steady=self._steady())
        self._save()

    def _save(self) -> None:
        known = self._clock.known
        news = known.signed // SAVED_EACH != self._saved.signed // SAVED_EACH
        if news or abs(known.seen - self._saved.seen) >= SAVED_EACH:
            self._saved = known
            self._disk.write_atomic(self._path, KnownRecord(signed=known.signed, seen=known.seen).encode())


def _load(path: Path, disk: Disk) -> Known:
    if not disk.exists(path):
        return Known()
    try:
        record = KnownRecord.decode(disk.read_limited(path, KnownRecord.LIMIT))
    except CodecError:
        return Known()
    return Known(signed=record.signed, seen=record.seen)
