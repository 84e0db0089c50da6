"""What the stages of a device have in common: each is used once.

What can be refused by what everybody knows is refused before a stage is left: a lie that binds nobody costs nothing,
and the message that is true may still come. Before anything is done with a secret the stage is left, for good.
"""

from accord.errors import Refusal


class Stage:
    """A stage is used once; nothing of it shows in its repr."""

    def __init__(self) -> None:
        self._left = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def _unleft(self, reason: str) -> None:
        if self._left:
            raise Refusal(reason, f"{type(self).__name__} was left before")

    def _leave(self, reason: str) -> None:
        self._unleft(reason)
        self._left = True
