"""Whether a device works now: its constraints hold and nobody asked it to stop; and a worker that waits while not."""

import time
from collections.abc import Callable

from accord.errors import LocalProtocolError
from accord.plan import Plan
from accord.update.pipeline import Contribution
from edge_sdk.conditions import Conditions, Unmet
from edge_sdk.constraints import Constraints
from edge_sdk.pace import Paused
from edge_sdk.ports import Worker

NAP = 0.5
"""Seconds between two looks at whether work may go on or the device shall stop."""


class Stopped(Exception):  # noqa: N818 - what was asked for, which is no error
    """The device was asked to stop in the middle of its work."""


class Attendance:
    """Judges readings, at most each `every` seconds, and tells when the answer changes.

    Args:
        constraints: what must hold.
        readings: gives the conditions now.
        told: called with the constraints that do not hold when they change; with none when work may go on.
        every: seconds between two readings.
        steady: seconds that never jump.
    """

    def __init__(
        self,
        constraints: Constraints,
        readings: Callable[[], Conditions],
        *,
        told: Callable[[tuple[Unmet, ...]], None] = lambda _unmet: None,
        every: float = 1.0,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopping = False
        self.unmet: tuple[Unmet, ...] = ()
        self._constraints, self._readings, self._told = constraints, readings, told
        self._every, self._steady = every, steady
        self._next = steady()

    def may_work(self) -> bool:
        """Return whether work may go on now."""
        if self.stopping:
            return False
        now = self._steady()
        if now >= self._next and self._constraints != Constraints():
            self._next = now + self._every
            before = {found.name for found in self.unmet}
            self.unmet = self._constraints.unmet(self._readings(), resting=bool(before))
            if {found.name for found in self.unmet} != before:
                self._told(self.unmet)
        return not self.unmet


class WaitingWorker:
    """Does a worker's work, and waits in the middle of it while the device may not.

    Args:
        worker: raises `Paused` between two steps; asked again, it goes on.
        attendance: whether the device may.
        over: whether there is no more use in a plan's work.
        meanwhile: called between two looks.
        nap: waits some seconds.
    """

    def __init__(
        self,
        worker: Worker,
        attendance: Attendance,
        *,
        over: Callable[[Plan], bool],
        meanwhile: Callable[[], None] = lambda: None,
        nap: Callable[[float], None] = time.sleep,
    ) -> None:
        self._worker, self._attendance = worker, attendance
        self._over, self._meanwhile, self._nap = over, meanwhile, nap

    def work(self, plan: Plan, params: bytes) -> Contribution:
        """Do it, however long it takes.

        Raises:
            AccordError: the work failed.
            LocalProtocolError: the round was over before work could go on.
            Stopped: the device was asked to stop.
        """
        while True:
            try:
                return self._worker.work(plan, params)
            except Paused:
                self._wait(plan)

    def _wait(self, plan: Plan) -> None:
        while not self._attendance.may_work():
            if self._attendance.stopping:
                raise Stopped
            if self._over(plan):
                names = ", ".join(found.name for found in self._attendance.unmet)
                raise LocalProtocolError(f"the round was over before work could go on: {names} did not hold")
            self._meanwhile()
            self._nap(NAP)
