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

    def recall(self, device: str) -> bytes | None:
        """Return the RESULT that was kept for a device."""
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


class NoJournal:
    """Keeps results and standings, and nothing that would survive the process."""

    def __init__(self) -> None:
        self._results: dict[str, bytes] = {}
        self._standings: dict[str, Standing] = {}

    def note(self, event: Event, now: float, clock: int) -> None:
        """Let it go."""

    def settle(self, result: Settle) -> None:
        """Keep a device's RESULT, in place of the one before."""
        self._results[result.device] = result.data

    def recall(self, device: str) -> bytes | None:
        """Return the RESULT that was kept for a device."""
        return self._results.get(device)

    def standing(self, device: str) -> Standing | None:
        """Return where a device stands."""
        return self._standings.get(device)

    def stand(self, device: str, standing: Standing) -> None:
        """Keep where a device stands."""
        self._standings[device] = standing

    def commit(self) -> None:
        """There is nothing to make durable."""
