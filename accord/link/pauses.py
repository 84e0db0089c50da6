"""The pauses between attempts to connect: jitter between nothing and a bound that doubles, so that a fleet spreads."""

from accord.entropy import Entropy

FIRST, LARGEST = 0.2, 20.0
"""Seconds: the bound at first, and at most."""


class Pauses:
    """One link's.

    Args:
        entropy: for the jitter.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy, self._bound = entropy, FIRST

    def over(self) -> None:
        """A connection stands: the next pause is short again."""
        self._bound = FIRST

    def next(self) -> float:
        """Return the seconds to wait now; the bound is then twice as large."""
        bound, self._bound = self._bound, min(LARGEST, self._bound * 2)
        return bound * int.from_bytes(self._entropy(4), "little") / 2**32
