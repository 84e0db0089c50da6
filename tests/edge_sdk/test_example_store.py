"""The example store: bounded, erasable, whole after power cuts, and what is damaged is named and left out."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import UsageError
from accord.files import DISK, Disk, FileError
from accord.files.crash_points import crash_points
from accord.files.memory import MemoryFiles
from edge_sdk.bounds import Bounds
from edge_sdk.clock import ClockState, Moment
from edge_sdk.example_record import ExampleRecord, framed, unframed
from edge_sdk.example_store import ExampleStore

FOLDER = Path("/state/examples")
NOW = 1_800_000_000
SMALL = Bounds(max_examples=16, max_bytes=8_192, max_age=800)


class Time:
    def __init__(self, state: ClockState = ClockState.GOOD) -> None:
        self.now, self.state = NOW, state

    def __call__(self) -> Moment:
        return Moment(now=self.now, state=self.state)


def store(disk: Disk, time: Time | None = None, bounds: Bounds = SMALL) -> ExampleStore:
    return ExampleStore(FOLDER, Time() if time is None else time, bounds, disk)


def one(number: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((1, 3), number, np.float32), np.array([number])


def kept(found: ExampleStore) -> list[int]:
    rows = found.rows((3,))
    assert np.array_equal(rows.x_train[:, 0], rows.y_train)
    assert np.array_equal(rows.x_test[:, 0], rows.y_test)
    assert len(found) == len(rows.y_train) + len(rows.y_test)
    return sorted([*rows.y_train.tolist(), *rows.y_test.tolist()])


def test_what_is_added_comes_back_after_a_restart() -> None:
    disk = Disk(MemoryFiles())
    first = store(disk)
    assert kept(first) == []
    assert first.rows((3,)).x_train.shape == (0, 3)
    first.add(np.arange(12, dtype=np.float32).reshape(4, 3), [0, 1, 2, 3], "train")
    first.add(np.full((1, 3), 9, np.float32), [9], "test")
    again = store(disk).rows((3,))
    assert again.x_train.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert again.y_train.tolist() == [0, 1, 2, 3]
    assert again.y_test.tolist() == [9]


def test_the_oldest_go_first_when_there_are_too_many() -> None:
    disk = Disk(MemoryFiles())
    found = store(disk)
    for number in range(40):
        found.add(*one(number))
        assert kept(found) == list(range(max(0, number - 15), number + 1))
    assert kept(store(disk)) == list(range(24, 40))
    assert len(disk.names(FOLDER)) <= 9, "what is over the bound has gone from the disk too"
    found.add(np.zeros((50, 3), np.float32), np.zeros(50, np.int64), "train")
    assert kept(found) == [0] * 16


def test_bytes_on_disk_are_bounded() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    found = store(disk, bounds=Bounds(max_examples=10_000, max_bytes=8_192))
    for number in range(300):
        found.add(*one(number))
        assert sum(disk.size(FOLDER / name) for name in disk.names(FOLDER)) == found.size <= 8_192
    numbers = kept(found)
    assert numbers == list(range(numbers[0], 300))
    assert len(numbers) > 40
    with pytest.raises(UsageError, match="raise it"):
        store(Disk(MemoryFiles())).add(np.zeros((1, 1_000)), [0])


def test_what_is_too_old_is_not_read_and_goes_from_the_disk() -> None:
    disk, time = Disk(MemoryFiles()), Time()
    found = store(disk, time)
    for number in range(9):
        found.add(*one(number))
        time.now += 200
    assert kept(found) == [5, 6, 7, 8]
    time.now += 10_000
    assert kept(found) == []
    assert disk.names(FOLDER) == ()


@pytest.mark.parametrize("state", [s for s in ClockState if s is not ClockState.GOOD])
def test_nothing_is_too_old_while_the_clock_is_not_good(state: ClockState) -> None:
    disk, time = Disk(MemoryFiles()), Time()
    found = store(disk, time)
    found.add(*one(1))
    time.now, time.state = NOW + 10**8, state
    assert kept(found) == [1]
    assert disk.names(FOLDER) != ()


def test_the_same_example_is_never_in_both_splits() -> None:
    found = store(Disk(MemoryFiles()), bounds=Bounds())
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = np.arange(400)
    for _ in range(3):
        found.add(x, y)
    rows = found.rows((3,))
    assert not set(rows.y_train.tolist()) & set(rows.y_test.tolist())
    assert len(rows.y_train) + len(rows.y_test) == 1_200
    assert 0.1 < len(rows.y_test) / 1_200 < 0.3


def test_wrong_examples_are_refused_by_what_is_wrong() -> None:
    found = store(Disk(MemoryFiles()))
    found.add(*one(1))
    wrong = [
        (np.zeros((2, 3), np.float32), [1], "N rows and N labels"),
        (np.zeros((1, 4), np.float32), [1], "erase the store"),
        (np.zeros((1, 3), np.float64), [1], "erase the store"),
        (np.full((1, 3), np.nan, np.float32), [1], "NaN"),
        (np.zeros((1, 3), np.float16), [1], "use one of"),
        (np.array([[object()] * 3]), [1], "not numbers"),
        (np.float32(3), [1], "N rows"),
    ]
    for x, y, says in wrong:
        with pytest.raises(UsageError, match=says):
            found.add(x, y)
    with pytest.raises(UsageError, match="split 'both'"):
        found.add(*one(2), "both")
    with pytest.raises(UsageError, match="the model takes"):
        found.rows((4,))
    assert kept(found) == [1]
    with pytest.raises(UsageError, match="raise max_examples"):
        Bounds(max_examples=1)


def test_erased_is_gone_and_other_rows_may_come() -> None:
    disk = Disk(MemoryFiles())
    found = store(disk)
    for number in range(9):
        found.add(*one(number))
    assert found.erase() > 1
    assert disk.names(FOLDER) == ()
    assert len(found) == found.size == 0
    found.add(np.zeros((1, 7)), [1.5], "train")
    assert found.rows((7,)).y_train.tolist() == [1.5]


def test_a_power_cut_at_any_change_loses_at_most_what_was_being_added() -> None:
    def prepare(disk: Disk) -> None:
        for number in range(14):
            store(disk).add(*one(number))

    def act(disk: Disk) -> None:
        found = store(disk)
        for number in range(14, 19):
            found.add(*one(number))

    points = 0
    for point, _, disk in crash_points(act, prepare):
        points = max(points, point)
        found = store(disk)
        numbers = kept(found)
        newest = max(numbers)
        assert numbers == list(range(max(0, newest - 15), newest + 1))
        assert newest >= 13
        assert {d.reason for d in found.damage} <= {"torn"}
        found.add(*one(newest + 1))
        assert kept(store(disk))[-2:] == [newest, newest + 1], "what comes behind a torn end is read"
    assert points > 15


def test_erasing_survives_power_cuts() -> None:
    def prepare(disk: Disk) -> None:
        for number in range(9):
            store(disk).add(*one(number))

    for _, _, disk in crash_points(lambda disk: store(disk).erase(), prepare):
        found = store(disk)
        assert set(kept(found)) <= set(range(9))
        found.erase()
        assert disk.names(FOLDER) == ()


@pytest.mark.parametrize("change", [b"\xff", b""])
def test_a_damaged_segment_is_named_and_the_rest_kept(change: bytes, tmp_path: Path) -> None:
    found = ExampleStore(tmp_path, Time(), SMALL)
    for number in range(9):
        found.add(*one(number))
    names = DISK.names(tmp_path)
    assert len(names) >= 4
    path = tmp_path / names[1]
    data = path.read_bytes()
    path.write_bytes(data[:100] + change + data[101:])
    again = ExampleStore(tmp_path, Time(), SMALL)
    lost = set(range(9)) - set(kept(again))
    assert 1 <= len(lost) <= 2
    assert [(d.segment, d.reason) for d in again.damage] == [
        (names[1], "damaged" if change else again.damage[0].reason)
    ]
    again.add(*one(9))
    assert 9 in kept(again)


@given(st.binary(max_size=200), st.integers(0, 150))
def test_any_bytes_in_a_segment_do_no_harm(noise: bytes, at: int) -> None:
    disk = Disk(MemoryFiles())
    found = store(disk)
    for number in range(3):
        found.add(*one(number))
    path = FOLDER / disk.names(FOLDER)[0]
    data = disk.read_limited(path, 10_000)
    disk.write_atomic(path, data[:at] + noise + data[at:])
    assert set(kept(store(disk))) <= {0, 1, 2}


def test_a_frame_is_the_one_of_its_record() -> None:
    record = ExampleRecord(time=1, split="train", x_type="<f4", x_shape=(1, 2), x=bytes(8), y_type="|u1", y=b"\x01")
    data = framed(record)
    assert list(unframed(data + data)) == [record, record]
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x10
        assert all(found != record for found in unframed(bytes(changed))), place


@pytest.mark.parametrize(("change", "reason"), [({"capacity": 600}, "DiskFull"), ({"read_only": True}, "DiskReadOnly")])
def test_a_disk_that_refuses_loses_nothing_that_was_there(change: dict[str, object], reason: str) -> None:
    files = MemoryFiles()
    disk = Disk(files)
    found = store(disk)
    found.add(*one(0))
    for name, value in change.items():
        setattr(files, name, value)

    def fill() -> None:
        for number in range(1, 16):
            found.add(*one(number))

    with pytest.raises(FileError) as caught:
        fill()
    assert caught.value.reason == reason
    before = kept(found)
    assert before[0] == 0
    files.capacity, files.read_only = 1 << 20, False
    found.add(*one(15))
    assert kept(store(disk)) == [*before, 15]


def test_a_card_that_can_not_be_read_is_damage_and_no_crash() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    store(disk).add(*one(1))
    files.failing = frozenset({"read"})
    found = store(disk)
    assert [d.reason for d in found.damage] == ["DiskFailing"]
    assert kept(found) == []
