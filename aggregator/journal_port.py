"""What a transport writes before anything leaves: the port, and the one in memory for simulations and tests."""

from typing import Protocol

from aggregator.coordinator_values import Event, Settle
from aggregator.standing import Standing


class Journal(Protocol):
    """Input that was taken and results that were told, written before the output that follows from them is released."""

    def note(self, event: Event, now: float, clock: int) -> None:
        """Add an event that the coordinator is about to take."""
        ...

    def settle(self, result: Settle) -> None:
        """Keep a device's RESULT, in place of the one before."""
        ...

    def recall(self, device: str, at: tuple[int, int] | None = None) -> bytes | None:
        """Return the RESULT that was kept for a device, the last one or that of a round and attempt."""
        ...

    def standing(self, device: str) -> Standing | None:
        """Return where a device stands; None if it never checked in."""
        ...

    def stand(self, device: str, standing: Standing) -> None:
        """Keep where a device stands, for all jobs."""
        ...

    def commit(self) -> None:
        """Make all of it durable."""
        ...


def kept(result: Settle | None, at: tuple[int, int] | None) -> bytes | None:
    """Return the letter of the one RESULT that is kept for a device, if it is of the attempt that is asked for."""
    if result is None or at not in (None, (result.round, result.attempt)):
        return None
    return result.data


class NoJournal:
    """Keeps results and standings, and nothing that would survive the process."""

    def __init__(self) -> None:
        self._results: dict[str, Settle] = {}
        self._standings: dict[str, Standing] = {}

    def note(self, event: Event, now: float, clock: int) -> None:
        """Let it go."""

    def settle(self, result: Settle) -> None:
        """Keep a device's RESULT, in place of the one before."""
        self._results[result.device] = result

    def recall(self, device: str, at: tuple[int, int] | None = None) -> bytes | None:
        """Return the RESULT that was kept for a device, if it is that of this round and attempt."""
        return kept(self._results.get(device), at)

    def standing(self, device: str) -> Standing | None:
        """Return where a device stands."""
        return self._standings.get(device)

    def stand(self, device: str, standing: Standing) -> None:
        """Keep where a device stands."""
        self._standings[device] = standing

    def commit(self) -> None:
        """There is nothing to make durable."""
