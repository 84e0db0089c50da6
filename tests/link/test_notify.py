"""sd_notify: what the service manager hears, on paths and abstract names; and nobody fails where nobody listens."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notify_socket import listening

from accord.link.notify import BEATS, Notifier


class Hand:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_alive_status_and_stopping_arrive(abstract: bool, tmp_path: Path) -> None:
    with listening(tmp_path, abstract=abstract) as manager:
        clock = Hand()
        notifier = Notifier(manager.environment(watchdog=30.0), clock)
        notifier.ready("connected;\nREADY=0")
        assert [(n, v) for _, n, v in manager.said] == []
        manager.read()
        assert [(n, v) for _, n, v in manager.said] == [
            ("READY", "1"),
            ("STATUS", "connected; READY=0"),  # one line, whatever is in it
            ("WATCHDOG", "1"),
        ]
        notifier.status("x" * 10_000)
        notifier.stopping()
        manager.read()
        assert [n for _, n, _ in manager.said[3:]] == ["STATUS", "STOPPING"]
        assert len(manager.said[3][2]) < 1_000


@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=60), st.floats(9.0, 100.0))
def test_signs_of_life_come_in_time_wherever_the_loop_turns_and_not_at_each_turn(
    turns: list[float], watchdog: float
) -> None:
    told: list[float] = []
    clock = Hand()

    class Counted(Notifier):
        def _tell(self, *lines: str) -> None:
            if "WATCHDOG=1" in lines:
                told.append(clock.now)

    notifier = Counted({"WATCHDOG_USEC": str(round(watchdog * 1e6))}, clock)
    notifier.alive()
    for pause in turns:
        clock.now += pause
        notifier.alive()
    assert told[0] == 0.0
    times = [*told, clock.now]
    most = watchdog / BEATS + max(turns) + 1e-5
    assert all(later - sooner <= most for sooner, later in itertools.pairwise(times))
    assert len(told) <= 1 + clock.now / (watchdog / BEATS - 1e-5)


def test_without_a_watchdog_or_with_another_processs_none_is_fed(tmp_path: Path) -> None:
    with listening(tmp_path) as manager:
        Notifier(manager.environment()).alive()
        Notifier(manager.environment(5.0) | {"WATCHDOG_PID": str(os.getpid() + 1)}).alive()
        Notifier(manager.environment() | {"WATCHDOG_USEC": "soon"}).alive()
        assert manager.read() == []
        Notifier(manager.environment(5.0) | {"WATCHDOG_PID": str(os.getpid())}).alive()
        assert manager.read() == ["WATCHDOG"]


@pytest.mark.parametrize("address", ["", "relative/path", "/nowhere/notify", "@nobody-listens-here", "vsock:2:1"])
def test_nothing_fails_where_nobody_listens(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address} if address else {})
    notifier.ready("x")
    notifier.alive()
    notifier.stopping()


def test_a_manager_that_does_not_read_makes_nobody_wait(tmp_path: Path) -> None:
    with listening(tmp_path) as manager:
        notifier = Notifier(manager.environment())
        for _ in range(10_000):
            notifier.status("x" * 400)
            assert manager.read(), "and the first ones are there"
