"""The deltas of one job to its newest version: made when a device that holds an older one asks, kept until the next.

They are made from the snapshots that the registry keeps, so nothing of them is stored, and a restart loses nothing.
"""

from collections.abc import Callable

from accord.tensors import Layout
from accord.update import delta

BACK = 30
"""Versions back from which there is a delta; whoever holds an older one fetches the snapshot."""


class Deltas:
    """One job's.

    Args:
        layout: the model's trainable tensors.
        older: gives the snapshot of a digest if it is one of the job's last `BACK` versions.
    """

    def __init__(self, layout: Layout, older: Callable[[bytes], bytes | None]) -> None:
        self._layout, self._older = layout, older
        self._wanted = b""
        self._made: dict[bytes, bytes | None] = {}

    def between(self, held: bytes, wanted: bytes, snapshot: bytes) -> bytes | None:
        """Return the encoded delta between two versions, or None where the snapshot is what there is, or is smaller.

        Args:
            held: the digest of the version that a device holds.
            wanted: the digest of the newest one.
            snapshot: its bytes.
        """
        if wanted != self._wanted:
            self._wanted, self._made = wanted, {}
        if held not in self._made:
            base = self._older(held)
            if base is None:
                return None  # anybody can name digests: those are not remembered
            self._made[held] = delta.between(base, snapshot, self._layout)
        return self._made[held]
