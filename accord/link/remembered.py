"""What a link's owner remembers of its broker from the last time, and is told when that is news."""

import logging
from collections.abc import Callable

from accord.link.abilities import NEW, OLD, Abilities

LOG = logging.getLogger("accord.link")


class Remembered:
    """One owner's memory of one broker.

    Args:
        broker: as it is shown; what is known of another one says nothing.
        known: what the owner has kept.
        learned: keeps more; None for an owner that keeps nothing.
    """

    def __init__(self, broker: str, known: Abilities | None, learned: Callable[[Abilities], None] | None) -> None:
        self.known = known if known is not None and known.broker == broker else None
        self._learned = learned

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of MQTT to begin with, in this order: the new one unless the broker is known not to speak it."""
        tries_new = self._learned is not None and (self.known is None or self.known.version == NEW)
        return (NEW, OLD) if tries_new else (OLD,)

    def tell(self, found: Abilities) -> None:
        """Tell the owner what the broker can do, if that is news."""
        if self._learned is not None and found != self.known:
            self.known = found
            self._learned(found)

    def tell_later(self, found: Abilities) -> None:
        """Do the same from the link's thread, which must live whatever the owner does."""
        try:
            self.tell(found)
        except Exception:
            LOG.exception("what the broker can do is not kept, and is asked again after the next start")
