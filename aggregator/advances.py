"""The advances that one job's last versions were made with, so that who missed some can follow one after the other.

Those are kept that lead to the newest version, as long as all of them together are smaller than a snapshot. A version
that was made in another way, such as a rollback, begins anew. Sans-IO.
"""

from collections.abc import Mapping, Sequence

from accord.prg import digest
from accord.records import Octets, Record, field
from accord.tensors import Layout
from accord.update.advance import Advance
from accord.update.delta import LONGEST
from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Kept(Record):
    """Where an advance begins, and which it is: digests of the snapshot and of the advance's bytes."""

    base: bytes = field(Octets(32))
    advance: bytes = field(Octets(32))


class Advances:
    """One job's.

    Args:
        layout: the model's trainable tensors.
    """

    def __init__(self, layout: Layout) -> None:
        self._room = 4 * layout.size
        self._kept: list[tuple[Kept, bytes]] = []
        self._newest = b""

    def add(self, base: bytes, result: bytes, advance: Advance | None) -> None:
        """Take what led from one snapshot to the next.

        Args:
            base: digest of the snapshot before.
            result: digest of the newest one.
            advance: what leads there; None if nothing does.
        """
        if base != self._newest or advance is None:
            self._kept.clear()
        if advance is not None:
            data = advance.encode()
            self._kept.append((Kept(base=base, advance=digest(data)), data))
        self._newest = result
        while len(self._kept) > LONGEST or sum(len(data) for _, data in self._kept) >= self._room:
            del self._kept[0]

    def since(self, held: bytes, wanted: bytes) -> Sequence[Advance]:
        """Return what leads from one version to the newest, oldest first; nothing if that is not known.

        Args:
            held: digest of the snapshot that a device holds.
            wanted: digest of the newest one.
        """
        bases = [kept.base for kept, _ in self._kept]
        if wanted != self._newest or held not in bases:
            return ()
        # A model that came back to what it was has two places: the later one is nearer.
        first = len(bases) - 1 - bases[::-1].index(held)
        return tuple(Advance.decode(data) for _, data in self._kept[first:])

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What is kept, oldest first, for the job's state."""
        return tuple(kept for kept, _ in self._kept)

    @property
    def data(self) -> dict[bytes, bytes]:
        """The bytes of each advance, by digest."""
        return {kept.advance: data for kept, data in self._kept}

    def restore(self, kept: Sequence[Kept], data: Mapping[bytes, bytes], newest: bytes) -> None:
        """Go on from where the job stood: with those behind the last one that is gone, as they lead to the newest.

        Args:
            kept: what was kept.
            data: the bytes of each, by digest.
            newest: digest of the newest snapshot.
        """
        gone = [at for at, one in enumerate(kept) if one.advance not in data]
        first = gone[-1] + 1 if gone else 0
        self._kept, self._newest = [(one, data[one.advance]) for one in kept[first:]], newest
