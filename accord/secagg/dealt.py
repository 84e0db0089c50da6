"""What one member dealt, as the aggregator holds it: hashes and entries, each in one run of bytes. Opens nothing.

As an object for each entry they took half as much memory again, and there are n·k of them.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import field

from accord.errors import Refusal
from accord.secagg import entries
from accord.secagg.cohort import Cohort
from accord.secagg.commitments import SHORT_HASH
from accord.values import dataclass
from accord.wire.secure_sum import SHARE_HASHES, Share


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """One SHARE that fits its dealer's neighbourhood."""

    commitment: bytes
    hashes: bytes = field(repr=False)
    """For each holder of a share, ascending, the hashes of both halves, 32 bytes."""
    sealed: bytes = field(repr=False)
    """The entries for the neighbours, ascending; empty once they were handed on and are not needed any more."""

    def hashed(self, holders: Sequence[int], holder: int, start: int) -> bytes:
        """Return the hash of one half of a holder's share: the first half's stands at `start` 0, the other's at 16."""
        at = SHARE_HASHES * bisect_left(holders, holder) + start
        return self.hashes[at : at + SHORT_HASH]


def dealt(cohort: Cohort, place: int, message: Share) -> Dealt:
    """Return what a member dealt.

    Raises:
        Refusal: `WrongShape`.
    """
    device, near = cohort.devices[place], len(cohort.holders(place))
    if len(message.hashes) != near or len(message.sealed) != near - 1:
        raise Refusal("WrongShape", f"{device} dealt {len(message.sealed)} shares, and has {near - 1} neighbours")
    sizes, found = _sizes(cohort, place), list(map(len, message.sealed))
    if found != sizes:
        at = next(at for at, size in enumerate(sizes) if found[at] != size)
        peer = cohort.devices[_others(cohort, place)[at]]
        raise Refusal("WrongShape", f"{device} dealt {found[at]} bytes to {peer}")
    return Dealt(commitment=message.commitment, hashes=b"".join(message.hashes), sealed=b"".join(message.sealed))


def sealed_entries(cohort: Cohort, place: int, sealed: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield for each neighbour of a dealer, ascending, its position and what was sealed for it."""
    at = 0
    for other, size in zip(_others(cohort, place), _sizes(cohort, place), strict=True):
        yield other, sealed[at : at + size]
        at += size


def _others(cohort: Cohort, place: int) -> list[int]:
    return [other for other in cohort.holders(place) if other != place]


def _sizes(cohort: Cohort, place: int) -> list[int]:
    if not cohort.hybrid:
        return [entries.size(hybrid=False, upwards=False)] * (len(cohort.holders(place)) - 1)
    return [entries.size(hybrid=True, upwards=place < other) for other in _others(cohort, place)]
