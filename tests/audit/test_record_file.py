"""A file that only grows: torn at any byte, damaged, full, or written by two."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.files import FileError
from aggregator.audit.record_file import HEADER, LARGEST, RecordFile, frames

RECORDS = [b"one", b"", b"three" * 100, b"\x00" * 40, b"five"]


def written(path: Path, records: list[bytes]) -> bytes:
    with RecordFile(path) as file:
        for record in records:
            file.append([record])
    return path.read_bytes()


def held(path: Path) -> list[bytes]:
    return [frame.data for frame in frames(path) if frame.fits]


def test_what_is_appended_is_there_in_order_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    written(path, RECORDS)
    with RecordFile(path) as file:
        assert (len(file), file.cut) == (5, 0)
        file.append([b"six", b"seven"])
        assert [f.data for f in file.read(1, 3)] == RECORDS[1:3]
        assert [f.data for f in file.read(5, 99)] == [b"six", b"seven"]
        assert list(file.read(7, 99)) == []
    assert held(path) == [*RECORDS, b"six", b"seven"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_torn_at_any_byte_is_cut_off_and_nothing_before_it(tmp_path: Path) -> None:
    whole = written(tmp_path / "file", RECORDS)
    ends = [0, *(frame.end for frame in frames(tmp_path / "file"))]
    path = tmp_path / "torn"
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends) - 1
        assert held(path) == RECORDS[:kept], "a reader sees what is whole"
        with RecordFile(path) as file:
            assert (len(file), file.cut) == (kept, size - ends[kept])
            file.append([b"after"])
        assert held(path) == [*RECORDS[:kept], b"after"]
        assert path.read_bytes()[: ends[kept]] == whole[: ends[kept]]


@given(st.integers(1, 200), st.binary(min_size=1, max_size=200))
def test_a_torn_end_may_hold_anything(tmp_path_factory: pytest.TempPathFactory, zeros: int, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("torn") / "file"
    whole = written(path, RECORDS)
    for tail in (bytes(zeros), noise):
        path.write_bytes(whole + tail)
        with RecordFile(path, len(RECORDS)) as file:
            assert (len(file), file.cut) == (5, len(tail))
        assert path.read_bytes() == whole


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
        with RecordFile(path, 2) as file:  # nobody vouched for what comes behind the second
            assert len(file) == 2
    damaged = bytearray(whole)
    damaged[start + HEADER + 1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FileError, match="record 2 is damaged"):
        RecordFile(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(FileError, match="record 4 of 5 is damaged or missing"):
        RecordFile(path, 5)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with RecordFile(path) as file:
        file.append([b"mine"])
        with pytest.raises(FileError, match="another process"):
            RecordFile(path)
        assert held(path) == [b"mine"]
    with pytest.raises(FileError, match="not written any more"):
        file.append([b"late"])
    with RecordFile(path) as file:
        assert len(file) == 1


def test_a_full_disk_takes_nothing_and_the_next_write_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    real, left = os.write, [10]

    def full(handle: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(handle, data[: left[0]])
        left[0] -= count
        return count

    with RecordFile(path) as file:
        file.append([b"before"])
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(FileError, match="No space left on device; look at free space"):
            file.append([b"does not fit" * 10])
        assert path.read_bytes() == before
        assert len(file) == 1
        left[0] = 1 << 20
        file.append([b"after"])
    assert held(path) == [b"before", b"after"]


def test_a_disk_that_fails_while_taking_back_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"

    def failing(_handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with RecordFile(path) as file:
        file.append([b"before"])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            with pytest.raises(FileError, match="Input/output error"):
                file.append([b"lost"])
        with pytest.raises(FileError, match="start again"):
            file.append([b"after"])
    with RecordFile(path) as file:
        assert len(file) == 1


def test_records_have_a_largest_size_and_files_must_be_ours(tmp_path: Path) -> None:
    with RecordFile(tmp_path / "file") as file:
        file.append([bytes(LARGEST)])
        with pytest.raises(FileError, match="at most"):
            file.append([bytes(LARGEST + 1)])
    with pytest.raises(FileError, match="can't be read"):
        list(frames(tmp_path / "missing"))
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(FileError, match="can't be opened"):
        RecordFile(tmp_path / "link")
