"""What time it is where the clock may be wrong: a rule over the wall clock, a steady one, and what was known before.

The steady clock counts seconds from any start, goes on while the device sleeps, and never jumps. A Raspberry Pi without
a real-time clock starts in 1970 or at its last shutdown. The floor is the time that the aggregator signed last; what is
kept of the wall clock is only a hint: a clock that was a year ahead once must not hold a device in the future.
"""

from dataclasses import replace
from enum import Enum

from accord.values import dataclass

BUILT = 1_735_689_600
"""2025-01-01: this code did not exist before it."""
BACK = 120
"""Seconds that a good clock may lie behind what was known."""
AHEAD = 366 * 86_400
"""Seconds that a device may have been off before its clock has to be confirmed."""
JUMP = 86_400
"""Seconds that the wall clock may move against the steady one while the process runs."""


class ClockState(Enum):
    """How far the wall clock is believed."""

    GOOD = "good"
    BEHIND = "behind"  # before what is known for certain, such as 1970
    AHEAD = "ahead"  # more than a year after what was seen last
    JUMPED = "jumped"  # it moved by more than a day while the steady clock did not


ADVICE = {
    ClockState.GOOD: "",
    ClockState.BEHIND: "the clock is behind: let it be set from the network (NTP), or add a real-time clock",
    ClockState.AHEAD: "the clock is more than a year ahead of the last known time: set it, or wait for the aggregator",
    ClockState.JUMPED: "the clock jumped while the device ran: set it from the network (NTP)",
}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a device remembers of time, in seconds since 1970; 0 is nothing yet."""

    signed: int = 0  # the latest time that the aggregator signed: time never goes back before it
    seen: int = 0  # the wall clock when it was last believed


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The best estimate of the time, in seconds since 1970, and whether the wall clock agrees."""

    now: int
    state: ClockState


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """A moment of the steady clock."""

    at: float

    def left(self, steady: float) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self.at - steady)

    def passed(self, steady: float) -> bool:
        """Return whether it has come."""
        return steady >= self.at


class Clock:
    """One process's sense of time.

    Args:
        known: what was remembered.
        steady: the steady clock now, in seconds.
    """

    def __init__(self, known: Known, *, steady: float) -> None:
        self.known = known
        self.state: ClockState | None = None
        # A time, and the steady clock when it held. A good wall clock and a signed time move it, a bad clock does not.
        self._anchor = (max(BUILT, known.signed, known.seen), steady)
        self._confirmed = False

    def read(self, *, wall: float, steady: float) -> Moment:
        """Return the time.

        Args:
            wall: the wall clock, in seconds since 1970.
            steady: the steady clock, in seconds.
        """
        now = int(wall)
        estimate = self._estimate(steady)
        self.state = self._judged(now, estimate)
        if self.state is not ClockState.GOOD:
            return Moment(now=estimate, state=self.state)
        self._anchor, self._confirmed = (now, steady), True
        self.known = replace(self.known, seen=now)
        return Moment(now=max(now, self._floor), state=ClockState.GOOD)

    def signed(self, time: int, *, steady: float) -> None:
        """Take a time in a letter whose signature of the aggregator was checked; one that is not news changes nothing.

        It confirms where the wall clock is not believed, and sets a believed one forward but never back: the letter
        may be an old one that somebody sent again.
        """
        if time <= self._floor:
            return
        believed = self.state is ClockState.GOOD and time <= self._estimate(steady)
        self.known = replace(self.known, signed=time)
        if not believed:
            self._anchor, self._confirmed = (time, steady), True
            self.known = replace(self.known, seen=time)

    @property
    def _floor(self) -> int:
        return max(BUILT, self.known.signed)

    def _estimate(self, steady: float) -> int:
        time, at = self._anchor
        return int(time + max(0.0, steady - at))

    def _judged(self, wall: int, estimate: int) -> ClockState:
        if wall < self._floor - BACK:
            return ClockState.BEHIND
        if self._confirmed:
            return ClockState.JUMPED if abs(wall - estimate) > JUMP else ClockState.GOOD
        if wall < self.known.seen - BACK:
            return ClockState.BEHIND
        remembered = max(self.known.signed, self.known.seen)
        return ClockState.AHEAD if remembered and wall > remembered + AHEAD else ClockState.GOOD
