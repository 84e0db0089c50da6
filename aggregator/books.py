"""What a job writes down between two rounds, in the same transaction as its journal: the port, and one in memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from aggregator.attendance import NOTHING, Figures
from aggregator.coordinator_values import Closed, Event, Settle
from aggregator.job_state import JobState
from aggregator.journal_port import Journal, kept
from aggregator.standing import Standing

Noted = tuple[Event, float, int]
"""An event, and the monotonic and wall time in seconds at which it was taken."""


class Books(Journal, Protocol):
    """One job's journal and what stays of it."""

    def state(self) -> tuple[JobState, bytes, Mapping[bytes, bytes]] | None:
        """Return where the job stood, the model's snapshot, and all else that it names, by digest.

        None if it never closed a round.
        """
        ...

    def older(self, params: bytes) -> bytes | None:
        """Return the snapshot of this digest if it is one of the job's last versions, else None."""
        ...

    def noted(self) -> Iterable[Noted]:
        """Return the events of the round that was under way."""
        ...

    def measure(self, figures: Figures) -> None:
        """Keep the bytes of the round under way with its next event: they cost no commit of their own."""
        ...

    def measured(self) -> Figures:
        """Return what is known of the bytes of the round that was under way."""
        ...

    def unfinished(self) -> Mapping[str, Any] | None:
        """Return the record of the last round, if it was closed and not amended; None if it was."""
        ...

    def last_results(self) -> Mapping[str, bytes]:
        """Return the RESULTs of the last attempt that ended, by device: what was kept may not have been sent."""
        ...

    def close(
        self,
        state: JobState,
        params: bytes,
        beside: Mapping[bytes, bytes],
        record: Mapping[str, Any],
        closed: Closed | None,
    ) -> None:
        """Note how a round ended, and forget its events: masked vectors and shares go with them.

        Args:
            state: from where the job goes on.
            params: the model's snapshot, new if `state.version` is.
            beside: all else that the state names, by digest.
            record: of the round, JSON-ready.
            closed: what made the model, or None after a round without a sum.
        """
        ...

    def amend(self, record: Mapping[str, Any]) -> None:
        """Write the record of the last round again, with the bytes that were measured since; it is whole then."""
        ...

    def superseded(self, version: int) -> bool:
        """Return whether somebody has made a newer version; asked in the transaction in which a round begins."""
        ...


@dataclass
class _Contents:
    """What books hold."""

    events: list[Noted] = field(default_factory=list)
    results: dict[str, Settle] = field(default_factory=dict)
    state: tuple[JobState, bytes, Mapping[bytes, bytes]] | None = None
    snapshots: dict[bytes, bytes] = field(default_factory=dict)
    records: list[Mapping[str, Any]] = field(default_factory=list)
    standings: dict[str, Standing] = field(default_factory=dict)
    measured: Figures = NOTHING
    finished: bool = True

    def copied(self) -> "_Contents":
        return replace(
            self,
            events=list(self.events),
            results=dict(self.results),
            records=list(self.records),
            snapshots=dict(self.snapshots),
            standings=dict(self.standings),
        )


class MemoryBooks:
    """Books whose commits are durable for as long as the object lives: a stand-in for a disk in tests.

    Args:
        committing: called before each commit and after it; what it raises is a crash at that point.
    """

    def __init__(self, committing: Callable[[], None] = lambda: None) -> None:
        self._committing = committing
        self._durable = _Contents()
        self._live = _Contents()
        self._measured = NOTHING

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        """What is durable of how rounds ended."""
        return self._durable.records

    def crash(self) -> None:
        """Forget what was not committed."""
        self._live = self._durable.copied()

    def note(self, event: Event, now: float, clock: int) -> None:
        """Add an event that the coordinator is about to take."""
        self._live.events.append((event, now, clock))
        self._live.measured = self._measured

    def measure(self, figures: Figures) -> None:
        """Keep the bytes of the round under way with its next event."""
        self._measured = figures

    def measured(self) -> Figures:
        """Return what is known of the bytes of the round that was under way."""
        return self._live.measured

    def unfinished(self) -> Mapping[str, Any] | None:
        """Return the record of the last round, if it was closed and not amended."""
        return None if self._live.finished else self._live.records[-1]

    def settle(self, result: Settle) -> None:
        """Keep a device's RESULT, in place of the one before."""
        self._live.results[result.device] = result

    def recall(self, device: str, at: tuple[int, int] | None = None) -> bytes | None:
        """Return the RESULT that was kept for a device, if it is that of this round and attempt."""
        return kept(self._live.results.get(device), at)

    def last_results(self) -> Mapping[str, bytes]:
        """Return the RESULTs of the last attempt that ended."""
        found = self._live.results.values()
        newest = max(((one.round, one.attempt) for one in found), default=None)
        return {one.device: one.data for one in found if (one.round, one.attempt) == newest}

    def standing(self, device: str) -> Standing | None:
        """Return where a device stands."""
        return self._live.standings.get(device)

    def stand(self, device: str, standing: Standing) -> None:
        """Keep where a device stands."""
        self._live.standings[device] = standing

    def commit(self) -> None:
        """Make all of it durable."""
        self._committing()
        self._durable = self._live.copied()
        self._committing()

    def state(self) -> tuple[JobState, bytes, Mapping[bytes, bytes]] | None:
        """Return where the job stood, the model's snapshot, and all else that it names."""
        return self._live.state

    def older(self, params: bytes) -> bytes | None:
        """Return a snapshot of a version; all are kept."""
        return self._live.snapshots.get(params)

    def noted(self) -> Iterable[Noted]:
        """Return the events of the round that was under way."""
        return tuple(self._live.events)

    def close(
        self,
        state: JobState,
        params: bytes,
        beside: Mapping[bytes, bytes],
        record: Mapping[str, Any],
        closed: Closed | None,  # noqa: ARG002
    ) -> None:
        """Note how a round ended, and forget its events."""
        self._live.state, self._live.events = (state, params, beside), []
        self._live.snapshots[state.params] = params
        self._live.records.append(dict(record))
        self._live.finished = False

    def amend(self, record: Mapping[str, Any]) -> None:
        """Write the record of the last round again."""
        self._live.records[-1], self._live.finished = record, True

    def superseded(self, version: int) -> bool:  # noqa: ARG002 - nobody else makes versions in memory
        """Return False."""
        return False
