"""Crash points, enumerated: what is on a disk when the power goes before each change that something makes to it."""

import copy
from collections.abc import Callable, Iterator

from accord.files.crash import CRASHES, Crash
from accord.files.disk import Disk
from accord.files.memory import MemoryFiles, PowerCut


def crash_points(
    act: Callable[[Disk], object], prepare: Callable[[Disk], object] = lambda _disk: None
) -> Iterator[tuple[int, Crash, Disk]]:
    """Let the power go before each change that `act` makes, and before none; yield the disks as they come back.

    Args:
        act: what is interrupted; it must ask for the same changes each time.
        prepare: what was there before; never interrupted.

    Yields:
        The number of changes that `act` had made, how the crash went, and the disk, once for each of `CRASHES`.
    """
    point = 0
    while True:
        files = MemoryFiles()
        disk = Disk(files)
        prepare(disk)
        files.cut_at = len(files.operations) + point
        try:
            act(disk)
        except PowerCut:
            over = False
        else:
            over = True
        for how in CRASHES:
            later = copy.deepcopy(files)
            later.crash(how)
            yield point, how, Disk(later)
        if over:
            return
        point += 1
