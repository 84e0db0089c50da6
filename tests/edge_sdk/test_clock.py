"""Time: 1970, a year ahead, jumps, replays and restarts, on clocks that are turned by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.files import Disk, FileError
from accord.files.crash_points import crash_points
from accord.files.memory import MemoryFiles
from edge_sdk.clock import ADVICE, AHEAD, BUILT, JUMP, Clock, ClockState, Deadline, Known
from edge_sdk.timekeeper import Timekeeper, steady

NOW = 1_800_000_000
DAY = 86_400
YEAR = 365 * DAY
PATH = Path("/clock")


class Clocks:
    """A wall clock and a steady one, turned by hand."""

    def __init__(self, wall: float = NOW) -> None:
        self.wall, self.steady = float(wall), 100.0

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def keeper(self, disk: Disk) -> Timekeeper:
        return Timekeeper(PATH, disk, wall=lambda: self.wall, steady=lambda: self.steady)


def test_a_good_clock_is_believed_and_remembered() -> None:
    clocks, disk = Clocks(), Disk(MemoryFiles())
    keeper = clocks.keeper(disk)
    assert keeper.moment().state is ClockState.GOOD
    clocks.go(2 * DAY)
    assert keeper.moment().now == NOW + 2 * DAY
    after = Clocks(NOW + DAY).keeper(disk).moment()
    assert after.state is ClockState.BEHIND, "it showed more before the restart"
    assert after.now == NOW + 2 * DAY


@pytest.mark.parametrize("signed", [0, NOW + 500])
def test_a_board_that_boots_in_1970_goes_on_from_what_it_knew(signed: int) -> None:
    disk = Disk(MemoryFiles())
    before = Clocks().keeper(disk)
    before.moment()
    before.signed(signed)
    clocks = Clocks(12)
    keeper = clocks.keeper(disk)
    found = keeper.moment()
    assert found.state is ClockState.BEHIND
    assert found.now == max(NOW, signed)
    assert "NTP" in ADVICE[found.state]
    clocks.go(100)
    assert keeper.moment().now == max(NOW, signed) + 100
    clocks.wall = NOW + 10_000.0  # the network has set it
    assert keeper.moment().state is ClockState.GOOD
    assert keeper.moment().now == NOW + 10_000


def test_a_new_board_in_1970_is_not_before_this_code() -> None:
    found = Clocks(0).keeper(Disk(MemoryFiles())).moment()
    assert (found.now, found.state) == (BUILT, ClockState.BEHIND)


def test_a_clock_a_year_ahead_waits_for_the_aggregator_and_spoils_nothing() -> None:
    disk = Disk(MemoryFiles())
    Clocks().keeper(disk).moment()
    clocks = Clocks(NOW + AHEAD + DAY)
    keeper = clocks.keeper(disk)
    assert keeper.moment().state is ClockState.AHEAD
    assert keeper.moment().now == NOW
    clocks.wall = NOW + 300.0
    assert keeper.moment().state is ClockState.GOOD
    clocks.wall = NOW + AHEAD + DAY  # it jumps while the device runs
    found = keeper.moment()
    assert (found.now, found.state) == (NOW + 300, ClockState.JUMPED)
    assert Clocks(NOW + 400).keeper(disk).moment().state is ClockState.GOOD, "the jump was not remembered"
    keeper.signed(NOW + AHEAD + DAY + 5)  # it was no jump after all: the device had been asleep
    assert keeper.moment().state is ClockState.GOOD


def test_a_device_that_was_off_for_months_is_believed() -> None:
    disk = Disk(MemoryFiles())
    Clocks().keeper(disk).moment()
    assert Clocks(NOW + YEAR - DAY).keeper(disk).moment().state is ClockState.GOOD


def test_a_wrong_hint_is_cured_by_a_signed_time() -> None:
    disk = Disk(MemoryFiles())
    Clocks(NOW + 100 * DAY).keeper(disk).moment()  # it was wrong, and nobody could know
    clocks = Clocks(NOW)
    keeper = clocks.keeper(disk)
    assert keeper.moment().state is ClockState.BEHIND
    keeper.signed(NOW + 2)
    assert keeper.moment().state is ClockState.GOOD
    assert keeper.moment().now == NOW + 2


def test_an_old_letter_sets_nothing_back() -> None:
    keeper = Clocks().keeper(Disk(MemoryFiles()))
    keeper.moment()
    keeper.signed(NOW - 10 * DAY)
    assert keeper.moment().now == NOW
    keeper.signed(NOW - 20 * DAY)
    assert keeper.moment().now == NOW


def test_a_clock_set_back_by_minutes_stays_good_but_not_before_what_was_signed() -> None:
    clocks = Clocks()
    keeper = clocks.keeper(Disk(MemoryFiles()))
    keeper.signed(NOW)
    clocks.wall -= 60
    found = keeper.moment()
    assert (found.now, found.state) == (NOW, ClockState.GOOD)
    clocks.wall -= 600
    assert keeper.moment().state is ClockState.BEHIND


def test_flash_is_spared() -> None:
    files = MemoryFiles()
    clocks = Clocks()
    keeper = clocks.keeper(Disk(files))
    for _ in range(600):
        keeper.moment()
        clocks.go(10)
        keeper.signed(int(clocks.wall))
    assert files.operations.count("rename") <= 6, "600 readings in 6000 seconds"


def test_remembered_time_survives_power_cuts_and_damage_is_nothing_known() -> None:
    def act(disk: Disk) -> None:
        clocks = Clocks()
        keeper = clocks.keeper(disk)
        keeper.moment()
        keeper.signed(NOW + 10 * DAY)

    seen = {Clocks(5).keeper(disk).moment().now for _, _, disk in crash_points(act)}
    assert seen == {BUILT, NOW, NOW + 10 * DAY}
    disk = Disk(MemoryFiles())
    disk.write_atomic(PATH, b"\x82nonsense")
    assert Clocks(5).keeper(disk).moment().now == BUILT


def test_a_read_only_disk_is_told() -> None:
    files = MemoryFiles()
    keeper = Clocks().keeper(Disk(files))
    files.read_only = True
    with pytest.raises(FileError, match="mount the disk") as caught:
        keeper.moment()
    assert caught.value.reason == "DiskReadOnly"


@given(
    st.integers(0, 2 * NOW),
    st.integers(0, 2 * NOW),
    st.lists(st.tuples(st.sampled_from(["wall", "go", "signed"]), st.integers(0, 2 * NOW)), max_size=8),
)
def test_time_is_never_before_this_code_or_what_was_signed(
    signed: int, seen: int, steps: list[tuple[str, int]]
) -> None:
    clock, wall, now = Clock(Known(signed=signed, seen=seen), steady=0), NOW, 0.0
    for kind, value in steps:
        if kind == "wall":
            wall = value
        elif kind == "go":
            now += value
            wall += value
        else:
            clock.signed(value, steady=now)
        found = clock.read(wall=wall, steady=now)
        assert found.now >= max(BUILT, signed)
        assert clock.known.signed >= signed
        signed = clock.known.signed
        if found.state is ClockState.GOOD:
            assert abs(found.now - wall) <= JUMP


def test_deadlines_are_of_the_steady_clock() -> None:
    end = Deadline(at=steady() + 50)
    assert 40 < end.left(steady()) <= 50
    assert not end.passed(steady())
    assert end.passed(end.at)
    assert end.left(end.at + 9) == 0
