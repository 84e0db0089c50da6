"""The disk: the same contract in memory and on the machine, and what holds when the power goes at any change."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.files import PRIVATE, Disk, FileError, SystemFiles
from accord.files.crash import CRASHES
from accord.files.crash_points import crash_points
from accord.files.memory import MemoryFiles, PowerCut

HOME = Path("/home/device")


@pytest.fixture(params=["system", "memory"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return Disk(SystemFiles() if request.param == "system" else MemoryFiles())


@pytest.fixture
def folder(disk: Disk, tmp_path: Path) -> Path:
    return disk.make_folder(tmp_path / "state" / "inner")


def test_what_is_written_is_read(disk: Disk, folder: Path) -> None:
    path = folder / "file"
    assert disk.names(folder) == ()
    assert disk.names(folder / "missing") == ()
    assert not disk.exists(path)
    disk.write_atomic(path, b"one")
    disk.write_atomic(path, b"two" * 50_000)
    assert disk.read_private(path, 150_000) == b"two" * 50_000
    assert disk.size(path) == 150_000
    disk.append(path, b"!")
    assert disk.read_limited(path, 150_001).endswith(b"two!")
    disk.append(folder / "log", b"a")
    disk.append(folder / "log", b"")
    disk.append(folder / "log", b"b")
    assert disk.read_secret(folder / "log", 2) == b"ab"
    assert disk.names(folder) == ("file", "log")
    assert disk.exists(folder)
    assert disk.remove(path)
    assert not disk.remove(path)
    assert disk.names(folder) == ("log",)
    assert 0 < disk.space(folder).free <= disk.space(folder).total
    assert disk.make_folder(folder) == folder


def test_a_long_file_is_read_in_pieces_and_shortened(disk: Disk, folder: Path) -> None:
    path, data = folder / "log", bytes(range(256)) * 10_000
    disk.append(path, data)
    pieces = list(disk.stream(path))
    assert len(pieces) > 2
    assert b"".join(pieces) == data
    assert b"".join(disk.stream(path, 1_000_000)) == data[1_000_000:]
    assert list(disk.stream(path, len(data))) == []
    disk.cut(path, 1_000)
    assert disk.read_limited(path, 1_000) == data[:1_000]
    disk.append(path, b"!")
    assert disk.read_limited(path, 1_001) == data[:1_000] + b"!"
    with pytest.raises(FileError, match="missing can't be written"):
        disk.cut(folder / "missing", 0)
    with pytest.raises(FileError, match="missing can't be read"):
        list(disk.stream(folder / "missing"))


def test_modes_are_kept_and_private_files_demanded(disk: Disk, folder: Path) -> None:
    old = os.umask(0o077)
    try:
        disk.write_atomic(folder / "public", b"x", 0o644)
        disk.append(folder / "log", b"x", 0o640)
    finally:
        os.umask(old)
    assert disk.system.status(folder / "public").mode == 0o644
    with pytest.raises(FileError, match="chmod 600") as caught:
        disk.read_private(folder / "log", 9)
    assert caught.value.reason == "NotOurs"
    disk.write_atomic(folder / "log", b"y")
    assert disk.system.status(folder / "log").mode == PRIVATE


def test_wrong_paths_have_names(disk: Disk, folder: Path) -> None:
    disk.write_atomic(folder / "file", b"")
    with pytest.raises(FileError, match=r"can't be made: .*file") as caught:
        disk.make_folder(folder / "file" / "under")
    with pytest.raises(FileError, match="can't be read: No such file") as caught:
        disk.read_limited(folder / "missing", 1)
    assert caught.value.reason == "NotFound"
    with pytest.raises(FileError, match="can't be written"):
        disk.write_atomic(folder / "missing" / "file", b"")
    with pytest.raises(FileError, match="can't be written"):
        disk.append(folder, b"x")
    disk.append(folder / "file", b"12")
    with pytest.raises(FileError, match="larger than 1"):
        disk.read_limited(folder / "file", 1)


def test_what_a_power_cut_left_is_swept(disk: Disk, folder: Path) -> None:
    disk.write_atomic(folder / ".file.4711.tmp", b"secret")
    disk.write_atomic(folder / "file.tmp", b"kept")
    assert disk.sweep(folder) == (".file.4711.tmp",)
    assert disk.names(folder) == ("file.tmp",)


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"capacity": 10}, "DiskFull", "free some space"),
        ({"read_only": True}, "DiskReadOnly", "mount the disk for writing"),
        ({"failing": frozenset({"sync"})}, "DiskFailing", "replace it"),
        ({"failing": frozenset({"write"})}, "DiskFailing", "replace it"),
        ({"failing": frozenset({"rename", "truncate", "write"})}, "DiskFailing", "replace it"),
    ],
)
def test_a_disk_that_refuses_keeps_what_was_there_and_says_why(
    change: dict[str, object], reason: str, says: str
) -> None:
    files = MemoryFiles()
    disk = Disk(files)
    disk.make_folder(HOME)
    disk.write_atomic(HOME / "a", b"old")
    disk.append(HOME / "log", b"one")
    for name, value in change.items():
        setattr(files, name, value)
    for act in (disk.write_atomic, disk.append):
        with pytest.raises(FileError, match=says) as caught:
            act(HOME / ("a" if act == disk.write_atomic else "log"), b"new" * 5)
        assert caught.value.reason == reason
    files.capacity, files.read_only, files.failing = 1 << 20, False, frozenset()
    assert disk.read_limited(HOME / "a", 9) == b"old"
    if "truncate" not in change.get("failing", ()):  # type: ignore[operator]
        assert disk.read_limited(HOME / "log", 99) == b"one"
        assert disk.names(HOME) == ("a", "log")
    disk.append(HOME / "log", b"two")
    assert disk.read_limited(HOME / "log", 99).endswith(b"two")


def test_an_append_that_can_not_begin_leaves_no_file() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    disk.make_folder(HOME)
    files.capacity = 0
    with pytest.raises(FileError, match="No space"):
        disk.append(HOME / "log", b"x")
    assert disk.names(HOME) == ()


def test_a_failing_read_is_not_an_empty_file() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    disk.write_atomic(Path("/f"), b"x")
    files.failing = frozenset({"read"})
    with pytest.raises(FileError, match="replace it"):
        disk.read_limited(Path("/f"), 1)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_replaced_file_is_old_or_new_wherever_the_power_goes(old: bytes, new: bytes) -> None:
    path = HOME / "file"

    def prepare(disk: Disk) -> None:
        disk.make_folder(HOME)
        disk.write_atomic(path, old)

    seen = set()
    points = 0
    for point, _, disk in crash_points(lambda disk: disk.write_atomic(path, new), prepare):
        found = disk.read_private(path, 99)
        assert found in (old, new)
        seen.add(found)
        points = point
        disk.sweep(HOME)
        assert disk.names(HOME) == ("file",)
    assert seen == {old, new}
    assert points >= 5, "create, chmod, write, sync, rename, sync of the folder"
    for how in CRASHES:
        files = MemoryFiles()
        prepare(Disk(files))
        Disk(files).write_atomic(path, new)
        files.crash(how)
        assert Disk(files).read_private(path, 99) == new, "what returned is durable"


def test_an_append_adds_all_or_a_part_and_touches_nothing_before() -> None:
    path = HOME / "log"

    def act(disk: Disk) -> None:
        disk.append(path, b"first|")
        disk.append(path, b"second|")

    seen = set()
    whole = b"first|second|"
    for _, _, disk in crash_points(act, lambda disk: disk.make_folder(HOME)):
        found = disk.read_limited(path, 99) if disk.exists(path) else None
        assert found is None or whole.startswith(found)
        seen.add(found)
    assert {None, b"", b"first|", b"first|sec", whole} <= seen


def test_folders_and_removals_are_durable_when_they_return() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    for how in CRASHES:
        disk.make_folder(HOME / how.names / how.data)
        disk.write_atomic(HOME / "gone", b"x")
        disk.remove(HOME / "gone")
        files.crash(how)
        assert disk.exists(HOME / how.names / how.data)
        assert not disk.exists(HOME / "gone")


def test_a_disk_without_the_syncs_would_be_caught() -> None:
    """The layer itself: names and bytes that nobody synced do not survive the worst power cut."""
    outcomes = {}
    for how in CRASHES:
        files = MemoryFiles()
        handle = files.open(Path("/f"), os.O_CREAT | os.O_WRONLY, 0o600)
        files.write(handle, memoryview(b"abcd"))
        files.crash(how)
        found = Disk(files)
        outcomes[how.names, how.data] = found.read_limited(Path("/f"), 9) if found.exists(Path("/f")) else None
    assert outcomes == {
        ("lost", "lost"): None,
        ("lost", "torn"): None,
        ("lost", "kept"): None,
        ("kept", "lost"): b"",
        ("kept", "torn"): b"ab",
        ("kept", "kept"): b"abcd",
    }
    # A file that was synced in a folder that was not: the bytes are safe, the name is not.
    for names, expected in (("lost", None), ("kept", b"abcd")):
        files = MemoryFiles()
        handle = files.open(Path("/f"), os.O_CREAT | os.O_WRONLY, 0o600)
        files.write(handle, memoryview(b"abcd"))
        files.sync(handle)
        files.crash(next(c for c in CRASHES if (c.names, c.data) == (names, "lost")))
        disk = Disk(files)
        assert (disk.read_limited(Path("/f"), 9) if disk.exists(Path("/f")) else None) == expected


def test_nothing_works_without_power_until_it_comes_back() -> None:
    files = MemoryFiles()
    disk = Disk(files)
    files.cut_at = 2
    with pytest.raises(PowerCut):
        disk.write_atomic(Path("/f"), b"x")
    for act in (lambda: disk.names(Path("/")), lambda: disk.exists(Path("/f")), lambda: disk.remove(Path("/f"))):
        with pytest.raises(PowerCut):
            act()
    files.crash(CRASHES[0])
    disk.write_atomic(Path("/f"), b"x")
    assert disk.read_limited(Path("/f"), 1) == b"x"


CALLS = {
    "read": lambda files, path: files.open(path, os.O_RDONLY, 0),
    "write": lambda files, path: files.open(path, os.O_WRONLY, 0),
    "folder": lambda files, path: files.open(path, os.O_RDONLY | os.O_DIRECTORY, 0),
    "status": lambda files, path: files.status(path),
    "names": lambda files, path: files.names(path),
    "rename": lambda files, path: files.rename(path, path),
    "mkdir": lambda files, path: files.mkdir(path, 0o700),
}


@pytest.mark.parametrize("call", CALLS)
def test_both_file_systems_refuse_alike(call: str, tmp_path: Path) -> None:
    found = []
    for files, root in ((SystemFiles(), tmp_path), (MemoryFiles(), Path("/"))):
        handle = files.open(root / "file", os.O_CREAT | os.O_WRONLY, 0o600)
        files.write(handle, memoryview(b"x"))
        assert files.status(handle).size == 1
        files.close(handle)
        files.mkdir(root / "folder", 0o700)
        errors = {}
        for name in ("file", "folder", "missing/x", "file/x"):
            try:
                CALLS[call](files, root / name)
            except OSError as error:
                errors[name] = errno.errorcode[error.errno]
        found.append(errors)
    assert found[0] == found[1]
