"""Who may work: readings that come and go on a clock that is turned by hand, and work that waits, stops or is over."""

from collections.abc import Callable

import pytest

from accord.errors import LocalProtocolError
from accord.plan import Plan
from accord.update.pipeline import Contribution
from edge_sdk.attendance import Attendance, Stopped, WaitingWorker
from edge_sdk.conditions import Conditions, Unmet
from edge_sdk.constraints import Constraints
from edge_sdk.pace import Paused

PLAN: Plan = None  # type: ignore[assignment]
CHARGING = Constraints(requires_charging=True)


class Scene:
    """A charger, a clock, and everything that was told."""

    def __init__(self, constraints: Constraints = CHARGING, every: float = 1.0) -> None:
        self.on, self.now, self.looks = True, 0.0, 0
        self.told: list[list[str]] = []
        self.attendance = Attendance(constraints, self.readings, told=self.hear, every=every, steady=lambda: self.now)

    def readings(self) -> Conditions:
        self.looks += 1
        return Conditions(charging=self.on)

    def hear(self, unmet: tuple[Unmet, ...]) -> None:
        self.told.append([found.name for found in unmet])


def test_readings_are_taken_at_most_each_second_and_changes_are_told_once() -> None:
    scene = Scene()
    for second in range(40):
        scene.now = second / 10
        scene.on = not 1.0 <= scene.now < 2.5
        scene.attendance.may_work()
    assert scene.looks == 4
    assert scene.told == [["requires_charging"], []]
    assert scene.attendance.may_work()


def test_a_device_without_constraints_reads_nothing() -> None:
    scene = Scene(Constraints())
    assert scene.attendance.may_work()
    assert scene.looks == 0


def test_a_device_that_shall_stop_may_not_work() -> None:
    scene = Scene()
    scene.attendance.stopping = True
    assert not scene.attendance.may_work()


class Steps:
    """A worker of five steps."""

    def __init__(self, pace: Callable[[], bool]) -> None:
        self.done, self._pace = 0, pace

    def work(self, plan: Plan, params: bytes) -> Contribution:
        while self.done < 5:
            if not self._pace():
                raise Paused("between two steps")
            self.done += 1
        return Contribution(rows=self.done)


def waiting(scene: Scene, nap: Callable[[float], None], *, over: bool = False) -> tuple[Steps, WaitingWorker]:
    steps = Steps(scene.attendance.may_work)
    return steps, WaitingWorker(steps, scene.attendance, over=lambda _plan: over, nap=nap)


def test_work_waits_until_it_may_go_on() -> None:
    scene = Scene(every=0.0)
    scene.on = False
    naps: list[int] = []

    def nap(_seconds: float) -> None:
        naps.append(steps.done)
        scene.on = len(naps) == 3

    steps, worker = waiting(scene, nap)
    assert worker.work(PLAN, b"").rows == 5
    assert naps == [0, 0, 0]
    assert scene.told == [["requires_charging"], []]


def test_work_that_waits_is_left_when_the_round_is_over_or_the_device_shall_stop() -> None:
    scene = Scene(every=0.0)
    scene.on = False
    _, worker = waiting(scene, lambda _s: None, over=True)
    with pytest.raises(LocalProtocolError, match=r"the round was over .*requires_charging"):
        worker.work(PLAN, b"")

    def stop(_seconds: float) -> None:
        scene.attendance.stopping = True

    _, worker = waiting(scene, stop)
    with pytest.raises(Stopped):
        worker.work(PLAN, b"")
