"""The salts of participation commitments: one secret per device, apart from the log, so that erasure can delete it.

A commitment's salt is derived from the device's secret: asking again gives the same commitment, and showing one salt
tells nothing about the others. The log stays valid when a secret is gone; the commitments then open for nobody.
"""

from pathlib import Path

from accord import cbor, prg
from accord.entropy import Entropy
from accord.files import DISK, Disk
from accord.ids import checked_device
from aggregator.audit import entries

SECRET = 32  # bytes


class Salts:
    """The devices' secrets in one folder, a file each with mode 0600.

    Args:
        folder: made if missing, with mode 0700.
        entropy: draws secrets.
        disk: where they lie.

    Raises:
        FileError: the folder can't be made, or, later, a secret can't be read or written.
    """

    def __init__(self, folder: Path, entropy: Entropy, disk: Disk = DISK) -> None:
        self._folder, self._entropy, self._disk = disk.make_folder(folder), entropy, disk
        disk.sweep(folder)  # no secret is left behind in a file that erasure would not find

    def commit(self, device: str, job: str, number: int, tries: int) -> bytes:
        """Return the commitment to a participation (32 bytes); the secret is on disk before this returns."""
        path = self._folder / checked_device(device)
        if not self._disk.exists(path):
            self._disk.write_atomic(path, self._entropy(SECRET))
        return entries.commitment(self._salt(path, job, number, tries), device, job, number, tries)

    def salt(self, device: str, job: str, number: int, tries: int) -> bytes | None:
        """Return the salt (32 bytes) that opens one commitment, or None if the device was erased or never took part."""
        path = self._folder / checked_device(device)
        return self._salt(path, job, number, tries) if self._disk.exists(path) else None

    def erase(self, device: str) -> bool:
        """Delete a device's secret; return whether there was one."""
        return self._disk.remove(self._folder / checked_device(device))

    def _salt(self, path: Path, job: str, number: int, tries: int) -> bytes:
        return prg.kdf(self._disk.read_secret(path, SECRET), cbor.encode(["salt", job, number, tries]))
