"""The ways in which a power cut can go."""

import itertools

from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Crash:
    """What a power cut does to what was not synced.

    `names`: whether new, renamed and removed names stay; `data`: whether bytes are `lost`, `kept`, or all but the
    second half of the last write (`torn`).
    """

    names: str
    data: str


CRASHES = tuple(Crash(names=n, data=d) for n, d in itertools.product(("lost", "kept"), ("lost", "torn", "kept")))
"""Every way a power cut can go."""
