"""When a device that hears nothing asks again: after some seconds, then ever more rarely. Knows nothing of letters."""

FIRST = 5.0
"""Seconds of silence after which missing pieces are asked for, and the last letter is sent, again."""
LARGEST = 60.0
"""Seconds: the wait doubles up to this while nothing comes."""


class Patience:
    """One device's wait.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: float) -> None:
        self._since, self._wait = now, FIRST

    def heard(self, now: float) -> None:
        """Something came: the wait begins anew, and is short again."""
        self._since, self._wait = now, FIRST

    def over(self, now: float) -> bool:
        """Return whether it is time to ask again; the next wait is then twice as long."""
        if now - self._since < self._wait:
            return False
        self._since, self._wait = now, min(2 * self._wait, LARGEST)
        return True
