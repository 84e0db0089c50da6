"""Files: whole or not there, private by default, bounded when read."""

import os
import stat
from pathlib import Path

import pytest

from accord import files


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = files.make_folder(tmp_path / "a" / "b") / "file"
    files.write_atomic(path, b"one")
    files.write_atomic(path, b"two" * 100_000)
    assert files.read_limited(path, 300_000) == b"two" * 100_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    files.write_atomic(path, b"public", mode=0o644)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_can_not_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, b"old")

    def full(_handle: int, _data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(files.FileError, match=r"file can't be written: No space"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_reads_are_bounded_and_secrets_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(files.FileError, match="No such file"):
        files.read_limited(path, 1)
    files.write_atomic(path, b"k" * 32)
    assert files.read_secret(path, 32) == b"k" * 32
    with pytest.raises(files.FileError, match="larger"):
        files.read_limited(path, 31)
    with pytest.raises(files.FileError, match="32 bytes, not 33"):
        files.read_secret(path, 33)
    path.chmod(0o640)
    with pytest.raises(files.FileError, match="chmod 600"):
        files.read_secret(path, 32)
    with pytest.raises(files.FileError, match="can't be made"):
        files.make_folder(path / "x")
