"""The keystore: made on the device, private, whole or not enrolled, and gone when erased."""

from pathlib import Path

import pytest

from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.files import Disk, FileError
from accord.files.crash_points import crash_points
from accord.files.memory import MemoryFiles
from edge_sdk.keystore import NAMES, Credentials, Keystore

GIVEN = Credentials(password="hunter2hunter2", root=bytes(range(32)), roles=b"roles", certificate=b"certificate")
OTHER = Credentials(password="other", root=bytes(32), roles=b"new roles", certificate=b"new certificate")
SEEDED = Keystore(Path("/k"), Disk(MemoryFiles())).create_identity(SeededEntropy(1)).public


def test_a_key_is_made_once_on_the_device_and_read_back(tmp_path: Path) -> None:
    store = Keystore(tmp_path / "state" / "keys")
    assert store.present == ()
    key = store.create_identity(SeededEntropy(1))
    assert Keystore(store.folder).identity().public == key.public
    with pytest.raises(UsageError, match="erase the device"):
        store.create_identity(SeededEntropy(2))
    with pytest.raises(UsageError, match="no password and no root and no roles and no certificate: enrol"):
        store.load()
    store.save(GIVEN)
    assert store.complete
    assert store.load() == GIVEN
    assert all((store.folder / name).stat().st_mode & 0o777 == 0o600 for name in NAMES)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert "hunter2" not in repr(store.load()) + repr(store)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_others_may_read_is_refused_by_name(name: str, tmp_path: Path) -> None:
    store = Keystore(tmp_path)
    store.create_identity(SeededEntropy(1))
    store.save(GIVEN)
    (tmp_path / name).chmod(0o640)
    if name == "root":
        assert store.load() == GIVEN, "it is public"
        return
    with pytest.raises(FileError, match=f"{name} is readable by others: chmod 600"):
        store.identity() if name == "identity" else store.load()


def test_damage_has_a_name(tmp_path: Path) -> None:
    store = Keystore(tmp_path)
    store.create_identity(SeededEntropy(1))
    store.save(GIVEN)
    (tmp_path / "root").write_text("not hexadecimal")
    with pytest.raises(FileError, match="64 hexadecimal"):
        store.load()
    (tmp_path / "identity").write_bytes(b"short")
    with pytest.raises(FileError, match="5 bytes, not 32"):
        store.identity()


FOLDER = Path("/state/keys")


def enrolled(disk: Disk) -> None:
    Keystore(FOLDER, disk).create_identity(SeededEntropy(1))
    Keystore(FOLDER, disk).save(GIVEN)


def test_an_enrolment_that_is_cut_off_is_not_one() -> None:
    states = set()
    for _, _, disk in crash_points(lambda disk: Keystore(FOLDER, disk).save(OTHER), enrolled):
        store = Keystore(FOLDER, disk)
        found = store.load() if store.complete else None
        assert found in (None, GIVEN, OTHER)
        states.add(None if found is None else found.password)
        assert store.identity().public == SEEDED
        store.save(OTHER)
        assert store.load() == OTHER
    assert states == {None, GIVEN.password, OTHER.password}


def test_a_renewal_that_is_cut_off_leaves_a_whole_enrolment() -> None:
    """The certificate is never away: a device that loses power there starts with the one before or the new one."""
    states = set()
    for _, _, disk in crash_points(lambda disk: Keystore(FOLDER, disk).renew(OTHER), enrolled):
        found = Keystore(FOLDER, disk).load()
        assert found.password == GIVEN.password
        assert (found.roles, found.certificate) in [
            (GIVEN.roles, GIVEN.certificate),
            (OTHER.roles, GIVEN.certificate),
            (OTHER.roles, OTHER.certificate),
        ]
        states.add(found.certificate)
    assert states == {GIVEN.certificate, OTHER.certificate}


def test_erased_is_gone_wherever_the_power_goes() -> None:
    def prepare(disk: Disk) -> None:
        enrolled(disk)
        disk.write_atomic(FOLDER / ".identity.77.tmp", b"left by a power cut")

    for _, _, disk in crash_points(lambda disk: Keystore(FOLDER, disk).erase(), prepare):
        Keystore(FOLDER, disk).erase()
        assert disk.names(FOLDER) == ()
    assert Keystore(FOLDER, Disk(MemoryFiles())).erase() == ()
