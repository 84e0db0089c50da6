"""The record of one round while it is made: when it began, which attempts were aborted, and what its devices carried.

It is closed with the round, and finished once the heartbeats with the last bytes have come. Nothing of it is kept here.
"""

from collections.abc import Mapping
from typing import Any

from aggregator.attendance import FIGURES, NOTHING, Attendance, Figures, added, apart, moved

SETTLED = 2.0
"""Seconds after a round in which its devices' heartbeats, with their last bytes, are waited for."""


class RoundRecord:
    """The record of a job's round under way, or of the last one until it is finished.

    Args:
        job: whose devices are counted.
        attendance: what they have carried.
    """

    def __init__(self, job: str, attendance: Attendance) -> None:
        self._job, self._attendance = job, attendance
        self._began = 0.0
        self._before: Mapping[str, Figures] = {}
        self._known, self._whole = NOTHING, True
        self._aborted: list[dict[str, Any]] = []
        self._declined: dict[str, str] = {}
        self._closed: dict[str, Any] | None = None
        self._measured = 0.0
        self._awaited: dict[str, int] = {}

    @property
    def closed(self) -> bool:
        """Whether its round is over while its bytes are not all known."""
        return self._closed is not None

    def begin(self, now: float) -> None:
        """Begin a round's."""
        self._began, self._known, self._whole = now, NOTHING, True
        self.count_from_here()

    def go_on(self, began: float, known: Figures) -> None:
        """Go on with the one of a process before this one; what passed while there was none is not in `known`."""
        self._began, self._known, self._whole = began, known, False

    def take_up(self, closed: Mapping[str, Any]) -> None:
        """Take up one that a process before this one has closed and not finished."""
        self._closed, self._whole = dict(closed), False
        self._known = tuple(closed["bytes"][name] for name in FIGURES)

    def count_from_here(self) -> None:
        """Count what devices carry from now on; until then it stands in what is known."""
        self._before = self._attendance.traffic(self._job)

    def abort(self, attempt: dict[str, Any]) -> None:
        """Note an attempt that was aborted."""
        self._aborted.append(attempt)

    def decline(self, device: str, reason: str) -> None:
        """Note a device that was not offered the round, and why."""
        self._declined[device] = reason

    def carried(self) -> Figures:
        """Return the bytes of the round, as far as they are known."""
        return added(self._known, self._before, self._attendance.traffic(self._job))

    def close(self, facts: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Return the record of a round that is over; its bytes are a lower bound until it is finished."""
        self._closed = dict(facts) | {
            "aborted": self._aborted,
            "declined": {name: why for name, why in sorted(self._declined.items()) if name not in facts["included"]},
            "seconds": round(now - self._began, 3),
            "bytes": apart(self.carried()),
            "bytes_of": self._bytes_of(facts),
            "bytes_at_least": True,
        }
        self._aborted, self._declined, self._measured = [], {}, now + SETTLED
        self._awaited = {name: self._attendance.beats(name) for name in facts["included"]}
        return self._closed

    def settled(self, now: float) -> bool:
        """Return whether each device that was included has sent a heartbeat since, or was waited for."""
        beats = self._attendance.beats
        return now >= self._measured or all(beats(name) > count for name, count in self._awaited.items())

    def finish(self) -> dict[str, Any]:
        """Return the record with all bytes that will be known; a round through a restart lacks some, and says so."""
        assert self._closed is not None
        found, self._closed = self._closed, None
        return found | {
            "bytes": apart(self.carried()),
            "bytes_of": self._bytes_of(found) if self._whole else found.get("bytes_of", {}),
            "bytes_at_least": not self._whole,
        }

    def _bytes_of(self, facts: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Return what each device that was invited has carried since the round, or this process, began."""
        there = moved(self._before, self._attendance.traffic(self._job))
        return {name: apart(there[name]) for name in (*facts["included"], *facts["dropped"]) if name in there}
