"""What an attempt has heard and said, so that a letter that comes twice gets the answer that may have been lost."""

from collections.abc import Iterable

from aggregator.coordinator_values import Effect, Send, Settle

KEPT = 2
"""Letters kept for each device: it may have missed SURVIVORS and QUORUM, and takes the second only after the first."""


class Memory:
    """One attempt's: the digests of the letters that were taken, and the last letters sent to each device.

    A letter is answered again only with what was sent after it was taken first.
    """

    def __init__(self) -> None:
        self._count = 0
        self._heard: dict[tuple[str, bytes], int] = {}
        self._newest: dict[str, int] = {}
        self._sent: dict[str, list[tuple[int, bytes]]] = {}

    def ticket(self) -> int:
        """Return the moment at which a letter is taken, before it has had any effect."""
        return self._count

    def took(self, device: str, name: bytes, ticket: int) -> None:
        """Remember a letter by its digest."""
        self._heard[device, name] = self._newest[device] = ticket

    def sent(self, effects: Iterable[Effect]) -> None:
        """Remember what was said; after RESULT nothing else counts."""
        for effect in effects:
            if isinstance(effect, Send | Settle):
                self._count += 1
                before = [] if isinstance(effect, Settle) else self._sent.get(effect.device, [])
                self._sent[effect.device] = [*before, (self._count, effect.data)][-KEPT:]

    def again(self, device: str, name: bytes) -> tuple[Effect, ...] | None:
        """Return the answer to a letter that was taken before, or None if it was not.

        That is the last letter to the device, with the one before it where nothing was taken from the device between.
        """
        ticket = self._heard.get((device, name))
        if ticket is None:
            return None
        sent = self._sent.get(device, [])
        since = [data for at, data in sent[:-1] if at > self._newest[device]]
        last = [data for at, data in sent[-1:] if at > ticket]
        return tuple(Send(device=device, data=data) for data in (*since, *last))
