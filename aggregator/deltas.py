"""The deltas of one job to its newest version: made when a device that holds an older one asks, kept until the next.

Each is the smaller one of two: what the versions between were made with, one after the other, or one advance that is
made from the snapshots that the registry keeps.
"""

from collections.abc import Callable, Sequence

from accord.tensors import Layout
from accord.update import delta
from accord.update.advance import Advance

BACK = delta.LONGEST
"""Versions back from which there is a delta; whoever holds an older one fetches the snapshot."""
_FEW = 16
"""Parameters for each byte of a delta from which on nobody looks for a smaller one: half a bit for each parameter."""


Since = Callable[[bytes, bytes], Sequence[Advance]]
"""Returns what led from the version of one digest to that of another, one advance for each version."""


def nothing_since(_held: bytes, _wanted: bytes) -> Sequence[Advance]:
    """Return nothing: of who keeps no advances."""
    return ()


class Deltas:
    """One job's.

    Args:
        layout: the model's trainable tensors.
        older: gives the snapshot of a digest if it is one of the job's last `BACK` versions.
        since: gives what led from one version to another.
    """

    def __init__(self, layout: Layout, older: Callable[[bytes], bytes | None], since: Since = nothing_since) -> None:
        self._layout, self._older, self._since = layout, older, since
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
            self._made[held] = self._smallest(base, held, wanted, snapshot)
        return self._made[held]

    def _smallest(self, base: bytes, held: bytes, wanted: bytes, snapshot: bytes) -> bytes | None:
        advances = self._since(held, wanted)
        along = delta.along(base, snapshot, advances, self._layout)
        if along is not None and (len(advances) == 1 or _FEW * len(along) <= self._layout.size):
            return along
        merged = delta.between(base, snapshot, self._layout)
        found = [one for one in (along, merged) if one is not None]
        return min(found, key=len, default=None)
