"""A file that only grows: torn at any byte, cut by a power failure at any change, damaged, full."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.files import Disk, FileError
from accord.files.crash_points import crash_points
from accord.files.memory import MemoryFiles
from aggregator.audit.record_file import HEADER, LARGEST, RecordFile, frames

RECORDS = [b"one", b"", b"three" * 100, b"\x00" * 40, b"five"]
HOME = Path("/home")


def written(path: Path, records: list[bytes]) -> bytes:
    file = RecordFile(path)
    for record in records:
        file.append([record])
    return path.read_bytes()


def held(path: Path) -> list[bytes]:
    return [frame.data for frame in frames(path) if frame.fits]


def test_what_is_appended_is_there_in_order_and_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    written(path, RECORDS)
    file = RecordFile(path)
    assert (len(file), file.cut) == (5, 0)
    file.append([b"six", b"seven"])
    assert [f.data for f in file.read(1, 3)] == RECORDS[1:3]
    assert [f.data for f in file.read(5, 99)] == [b"six", b"seven"]
    assert list(file.read(7, 99)) == []
    assert held(path) == [*RECORDS, b"six", b"seven"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_records_that_are_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    records = [bytes([number]) * (LARGEST - number) for number in range(40)]
    RecordFile(path).append(records)
    assert held(path) == records
    assert [frame.end for frame in frames(path)][-1] == path.stat().st_size


def test_a_write_torn_at_any_byte_is_cut_off_and_nothing_before_it() -> None:
    disk = Disk(MemoryFiles())
    path = disk.make_folder(HOME) / "file"
    RecordFile(path, disk=disk).append(RECORDS)
    whole = disk.read_limited(path, 10_000)
    ends = [0, *(frame.end for frame in frames(path, disk=disk))]

    def read() -> list[bytes]:
        return [frame.data for frame in frames(path, disk=disk) if frame.fits]

    for size in range(len(whole) + 1):
        disk.write_atomic(path, whole[:size])
        kept = sum(end <= size for end in ends) - 1
        assert read() == RECORDS[:kept], "a reader sees what is whole"
        file = RecordFile(path, disk=disk)
        assert (len(file), file.cut) == (kept, size - ends[kept])
        file.append([b"after"])
        assert read() == [*RECORDS[:kept], b"after"]
        assert disk.read_limited(path, 10_000)[: ends[kept]] == whole[: ends[kept]]


def test_wherever_the_power_goes_what_was_appended_stays_and_the_next_writer_goes_on() -> None:
    told: list[bytes] = []

    def writer(disk: Disk) -> None:
        told.clear()
        file = RecordFile(HOME / "file", disk=disk)
        for batch in ([b"one"], [b"two", b"three" * 50, b""], [b"five"]):
            file.append(batch)
            told.extend(batch)

    points = 0
    for point, how, disk in crash_points(writer, lambda disk: disk.make_folder(HOME)):
        points = point
        file = RecordFile(HOME / "file", len(told), disk)
        found = [frame.data for frame in file.read(0, 99)]
        assert found[: len(told)] == told, (point, how)
        assert found == [b"one", b"two", b"three" * 50, b"", b"five"][: len(found)]
        file.append([b"after"])
        assert [frame.data for frame in frames(HOME / "file", disk=disk)] == [*found, b"after"]
    assert points > 10


def test_what_a_killed_process_wrote_is_made_durable_before_it_is_built_upon() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    disk.make_folder(HOME)
    RecordFile(HOME / "file", disk=disk).append([b"one"])
    data = disk.read_limited(HOME / "file", 1_000)
    handle = files.open(HOME / "file", 1, 0o600)  # the next record is written, and the process killed before its sync
    files.seek(handle, len(data))
    files.write(handle, memoryview(data))
    assert len(RecordFile(HOME / "file", disk=disk)) == 2
    for _point, how, _disk in crash_points(lambda _disk: None):
        files.crash(how)
        assert len(RecordFile(HOME / "file", 2, disk)) == 2


@given(st.integers(1, 200), st.binary(min_size=1, max_size=200))
def test_a_torn_end_may_hold_anything(zeros: int, noise: bytes) -> None:
    disk = Disk(MemoryFiles())
    path = disk.make_folder(HOME) / "file"
    RecordFile(path, disk=disk).append(RECORDS)
    whole = disk.read_limited(path, 10_000)
    for tail in (bytes(zeros), noise):
        disk.write_atomic(path, whole + tail)
        file = RecordFile(path, len(RECORDS), disk)
        assert (len(file), file.cut) == (5, len(tail))
        assert disk.read_limited(path, 10_000) == whole


def test_damage_among_what_was_kept_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    whole = written(path, RECORDS)
    start = HEADER + len(RECORDS[0]) + HEADER  # of the third record
    for at in range(start, start + HEADER + 10):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(FileError, match="record 2 of 5 is damaged or missing: bring back"):
            RecordFile(path, 5)
        assert path.read_bytes() == damaged
        assert len(RecordFile(path, 2)) == 2, "nobody vouched for what comes behind the second"
    damaged = bytearray(whole)
    damaged[start + HEADER + 1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FileError, match="record 2 is damaged"):
        RecordFile(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(FileError, match="record 4 of 5 is damaged or missing"):
        RecordFile(path, 5)


def test_a_full_disk_takes_nothing_and_the_next_write_goes_on() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    file = RecordFile(disk.make_folder(HOME) / "file", disk=disk)
    file.append([b"before"])
    size = disk.size(HOME / "file")
    files.capacity = size + 10
    with pytest.raises(FileError, match="free some space"):
        file.append([b"does not fit" * 10])
    assert (len(file), disk.size(HOME / "file")) == (1, size)
    files.capacity = 1 << 20
    file.append([b"after"])
    assert [frame.data for frame in frames(HOME / "file", disk=disk)] == [b"before", b"after"]


def test_a_disk_that_fails_while_taking_back_is_not_built_upon() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    file = RecordFile(disk.make_folder(HOME) / "file", disk=disk)
    file.append([b"before"])
    files.failing = frozenset({"sync", "truncate"})
    with pytest.raises(FileError, match="the disk or card fails"):
        file.append([b"lost"])
    files.failing = frozenset()
    with pytest.raises(FileError, match="is not as it was left: stop everything that writes it, and start again"):
        file.append([b"after"])
    assert len(RecordFile(HOME / "file", 1, disk)) == 2


def test_records_have_a_largest_size_and_files_must_be_ours(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "file")
    file.append([bytes(LARGEST)])
    with pytest.raises(FileError, match="at most"):
        file.append([bytes(LARGEST + 1)])
    with pytest.raises(FileError, match="can't be read"):
        list(frames(tmp_path / "missing"))
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(FileError, match="a symbolic link stands there"):
        RecordFile(tmp_path / "link")
