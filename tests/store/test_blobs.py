"""A blob is its digest: whole, verified, written once, and gone when nothing refers to it."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accord import prg
from accord.files import FileError
from aggregator.blobs import Blobs, DamagedBlobError, MissingBlobError


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def path_of(folder: Path, name: bytes) -> Path:
    return folder / "blobs" / name.hex()[:2] / name.hex()[2:]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.binary(max_size=2_000))
def test_what_was_put_is_got(blobs: Blobs, data: bytes) -> None:
    name = blobs.put(data)
    assert name == prg.digest(data)
    assert blobs.get(name) == data
    assert name in blobs.names()


def test_files_are_ours_alone_and_written_once(blobs: Blobs, tmp_path: Path) -> None:
    name = blobs.put(b"model")
    path = path_of(tmp_path, name)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    before = path.stat().st_ino
    assert blobs.put(b"model") == name
    assert path.stat().st_ino == before


def test_a_damaged_blob_is_named_and_mended_by_a_new_put(blobs: Blobs, tmp_path: Path) -> None:
    name = blobs.put(b"model")
    path_of(tmp_path, name).write_bytes(b"mode1")
    with pytest.raises(DamagedBlobError, match=r"restore it from a backup"):
        blobs.get(name)
    path_of(tmp_path, name).write_bytes(b"")
    with pytest.raises(DamagedBlobError, match="holds 0 bytes"):
        blobs.get(name)
    assert blobs.put(b"model") == name
    assert blobs.get(name) == b"model"


def test_a_missing_blob_is_named(blobs: Blobs) -> None:
    with pytest.raises(MissingBlobError, match=prg.digest(b"x").hex()[2:]):
        blobs.get(prg.digest(b"x"))


def test_collect_removes_what_nothing_refers_to(blobs: Blobs, tmp_path: Path) -> None:
    kept, loose, fresh = (blobs.put(data) for data in (b"kept", b"loose", b"fresh"))
    half = path_of(tmp_path, kept).with_name(f".{kept.hex()[2:]}.1.tmp")
    half.write_bytes(b"a crash left this")
    for path in (path_of(tmp_path, kept), path_of(tmp_path, loose), half):
        os.utime(path, (100, 100))
    assert blobs.names() == {kept, loose, fresh}
    assert blobs.collect({kept}, before=200.0) == 2
    assert blobs.names() == {kept, fresh}, "what was put lately may not be referred to yet"
    assert not half.exists()
    os.utime(path_of(tmp_path, fresh), (100, 100))
    blobs.put(b"fresh")
    assert blobs.collect({kept}, before=200.0) == 0, "put again is put lately"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError):
        Blobs(tmp_path / "file")


def test_what_another_process_deletes_or_puts_while_files_are_collected_is_its_own(tmp_path: Path) -> None:
    class Beside(Blobs):
        """Another process deletes one file and puts another one again, once the files were listed."""

        def _files(self) -> list[Path]:
            found = super()._files()
            path_of(tmp_path, gone).unlink()
            super().put(b"again")
            return found

    blobs = Beside(tmp_path / "blobs")
    gone, again, loose = (blobs.put(data) for data in (b"gone", b"again", b"loose"))
    for name in (gone, again, loose):
        os.utime(path_of(tmp_path, name), (100.0, 100.0))
    assert blobs.collect((), before=200.0) == 1
    assert again in blobs
    assert loose not in blobs


def test_what_another_process_deletes_while_it_is_put_again_is_written_again(tmp_path: Path) -> None:
    class Beside(Blobs):
        def get(self, name: bytes) -> bytes:
            data = super().get(name)
            path_of(tmp_path, name).unlink()
            return data

    blobs = Beside(tmp_path / "blobs")
    assert blobs.put(b"again") == blobs.put(b"again")
    assert prg.digest(b"again") in blobs
