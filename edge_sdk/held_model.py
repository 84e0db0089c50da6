"""The version of the model that a device holds, on its disk: one whole, and the deltas that led on from it.

Nobody relies on these bytes: a delta says by digest from where to where it leads, and what can't be read or followed is
fetched again from the last version that can.
"""

from collections.abc import Callable
from pathlib import Path

from accord.errors import AccordError
from accord.files import Disk, FileError
from accord.tensors import Layout
from accord.update import delta
from accord.update.delta import Delta

STEPS = 7
"""Deltas behind a whole version: a start goes through all of them, and the next version is written whole again."""


class HeldModel:
    """One device's.

    Args:
        folder: its state folder.
        disk: where that lies.
        write: writes a file whole or not at all.
    """

    def __init__(self, folder: Path, disk: Disk, write: Callable[[Path, bytes], None]) -> None:
        self._disk, self._write = disk, write
        self._whole = folder / "model"
        self._steps = [folder / f"step-{number}" for number in range(1, STEPS + 1)]
        self._sizes: list[int] | None = None
        """Bytes of the deltas that lead to what is held; None where it is not known that they do."""

    def hold(self, model: bytes, led: bytes) -> None:
        """Write a version: by the delta that led to it, if the one before was written and all deltas are few and small.

        Args:
            model: the encoded snapshot.
            led: the encoded delta from the version that was held before; empty if none led here.

        Raises:
            FileError: the disk is full, read-only or fails.
        """
        sizes, self._sizes = self._sizes, None  # what is not written nothing can lead on from
        if led and sizes is not None and len(sizes) < STEPS and sum(sizes) + len(led) < len(model):
            self._write(self._steps[len(sizes)], led)
            self._sizes = [*sizes, len(led)]
            return
        self._write(self._whole, model)
        for path in self._steps:  # power may go here: they lead on from another version, and are passed over
            self._disk.remove(path)
        self._sizes = []

    def model(self, limit: int, layout: Layout) -> bytes:
        """Return the version that was written last, or the last one before it that can be read; empty if none can.

        Args:
            limit: bytes of the largest file that is read.
            layout: the model's trainable tensors.
        """
        self._sizes = None
        try:
            found = self._disk.read_limited(self._whole, limit) if self._disk.exists(self._whole) else b""
        except FileError:
            return b""
        if not found:
            return b""
        self._sizes = []
        for path in self._steps:
            try:
                if not self._disk.exists(path):
                    break
                led = self._disk.read_limited(path, limit)
                found = delta.apply(found, led, layout, Delta.decode(led).result)
            except AccordError:
                break
            self._sizes.append(len(led))
        return found
