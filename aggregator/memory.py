"""What an attempt has heard and said, so that a letter that comes twice gets the answer that may have been lost."""

from collections.abc import Iterable

from aggregator.coordinator_values import Effect, Send, Settle


class Memory:
    """One attempt's: the digests of the letters that were taken, and the last letter sent to each device.

    A letter is answered again only with something that was sent after it was taken first.
    """

    def __init__(self) -> None:
        self._count = 0
        self._heard: dict[tuple[str, bytes], int] = {}
        self._last: dict[str, tuple[int, bytes]] = {}

    def ticket(self) -> int:
        """Return the moment at which a letter is taken, before it has had any effect."""
        return self._count

    def took(self, device: str, name: bytes, ticket: int) -> None:
        """Remember a letter by its digest."""
        self._heard[device, name] = ticket

    def sent(self, effects: Iterable[Effect]) -> None:
        """Remember what was said."""
        for effect in effects:
            if isinstance(effect, Send | Settle):
                self._count += 1
                self._last[effect.device] = (self._count, effect.data)

    def again(self, device: str, name: bytes) -> tuple[Effect, ...] | None:
        """Return the answer to a letter that was taken before, or None if it was not."""
        ticket = self._heard.get((device, name))
        if ticket is None:
            return None
        at, data = self._last.get(device, (0, b""))
        return (Send(device=device, data=data),) if at > ticket else ()
