"""How a job's devices send their changes, as a person writes it: `dense:16`, `block-score:0.1:8` or `low-rank:8:4`."""

import math
from dataclasses import dataclass

from accord.errors import UsageError
from accord.plan import MICRO

DEFAULT = "low-rank:8:4"
"""See docs/adr/0024-low-rank-updates.md."""
WAYS = (
    "use dense:BITS, block-score:SHARE:BITS or low-rank:RANK:BITS, such as dense:16, block-score:0.1:8 or low-rank:8:4"
)
FEWEST_BITS, MOST_BITS = 2, 16
MOST_VECTORS = 256


@dataclass(frozen=True, kw_only=True)
class UpdateChoice:
    """One of the ways: bits of a value, and a share of the blocks in millionths or the rank of the bases."""

    kind: str
    bits: int
    share: int = 0
    rank: int = 0

    @classmethod
    def parse(cls, text: str) -> "UpdateChoice":
        """Return the choice that `text` names.

        Raises:
            UsageError: it is none; the message says how one is written.
        """
        kind, *numbers = text.split(":")
        wanted = {"dense": 1, "block-score": 2, "low-rank": 2}.get(kind)
        try:
            given = [float(number) for number in numbers]
        except ValueError:
            given = []
        if wanted is None or len(given) != wanted or not all(math.isfinite(number) for number in given):
            raise UsageError(f"update {text!r} is unknown: {WAYS}")
        bits = given[-1]
        if bits != int(bits) or not FEWEST_BITS <= bits <= MOST_BITS:
            raise UsageError(f"update {text!r} has values of {numbers[-1]} bits: use {FEWEST_BITS} to {MOST_BITS}")
        if kind == "block-score" and not 1 / MICRO <= given[0] <= 1:
            raise UsageError(f"update {text!r} sends a share of {numbers[0]}: use above 0 to 1, such as 0.1")
        if kind == "low-rank" and (given[0] != int(given[0]) or not 1 <= given[0] <= MOST_VECTORS):
            raise UsageError(f"update {text!r} has a rank of {numbers[0]}: use 1 to {MOST_VECTORS}, such as 8")
        return cls(
            kind=kind,
            bits=int(bits),
            share=round(given[0] * MICRO) if kind == "block-score" else 0,
            rank=int(given[0]) if kind == "low-rank" else 0,
        )
