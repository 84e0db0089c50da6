"""Sentences that a person must see: told as soon as they are known, and kept for the history. Draws nothing."""

from collections.abc import Callable, Iterable

Said = Callable[[str], None]
SHOWN = 8


class Notes:
    """The sentences of one run.

    Args:
        said: called with each one as it comes up.
    """

    def __init__(self, said: Said) -> None:
        self._said = said
        self.kept: list[str] = []

    def keep(self, sentence: str) -> None:
        """Tell a sentence, and keep it for the history."""
        self.kept.append(sentence)
        self._said(sentence)

    def pass_by(self, sentence: str) -> None:
        """Tell a sentence about what happens now; the history does not have it."""
        self._said(sentence)


def counted(names: Iterable[str], what: str) -> str:
    """Return "1 device has WHAT: NAME", or "12 devices have WHAT" with the first names and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    subject = "1 device has" if len(listed) == 1 else f"{len(listed)} devices have"
    return f"{subject} {what}: {', '.join(listed[:SHOWN])}{more}"
