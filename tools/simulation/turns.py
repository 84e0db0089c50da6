"""Whose turn it is in a training round, where nobody may be asked more often than so many times."""

from collections.abc import Callable, Sequence

from accord.errors import UsageError

Draw = Callable[[int, Sequence[str]], list[str]]
"""Returns so many of the names, drawn at random."""


class Turns:
    """One run's.

    Args:
        names: who takes part.
        most: rounds that each may be asked to; 0: any number.
        rounds: training rounds of the run.
        draw: draws among names.
    """

    def __init__(self, names: Sequence[str], most: int, rounds: int, draw: Draw) -> None:
        self._draw, self._rounds = draw, rounds
        self._left = dict.fromkeys(names, most or rounds)

    def next(self, count: int) -> list[str]:
        """Return who takes part in the next round, so many or all if there are fewer.

        It is drawn, as long as there are enough turns for the rounds to come; else those with the most turns are first.

        Raises:
            UsageError: there are not enough turns for the rest of the rounds.
        """
        count = min(count, len(self._left))
        if not self._enough((), count):
            raise UsageError(
                f"--max-participations leaves {sum(self._left.values())} participations of {len(self._left)} devices "
                f"for {self._rounds} rounds of {count}: use fewer --rounds or --devices-per-round, or more --devices"
            )
        self._rounds -= 1
        names = self._draw(count, [name for name, left in self._left.items() if left])
        if not self._enough(names, count):
            level = sorted(self._left.values(), reverse=True)[count - 1]
            first = [name for name, left in self._left.items() if left > level]
            equal = [name for name, left in self._left.items() if left == level]
            names = sorted(first + self._draw(count - len(first), equal))
        for name in names:
            self._left[name] -= 1
        return names

    def _enough(self, names: Sequence[str], count: int) -> bool:
        """Whether the rounds to come can be filled once these names have had a turn more."""
        had = set(names)
        there = sum(min(left - (name in had), self._rounds) for name, left in self._left.items())
        return len(names) in (0, count) and there >= self._rounds * count
