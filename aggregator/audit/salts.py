"""The salts of participation commitments: one secret per device, apart from the log, so that erasure can delete it.

A commitment's salt is derived from the device's secret: asking again gives the same commitment, and showing one salt
tells nothing about the others. The log stays valid when a secret is gone; the commitments then open for nobody.
"""

from pathlib import Path

from accord import cbor, prg
from accord.entropy import Entropy
from accord.files import FileError, make_folder, read_secret, write_atomic
from accord.ids import checked_device
from aggregator.audit import entries
from aggregator.audit.record_file import flush_folder

SECRET = 32  # bytes


class Salts:
    """The devices' secrets in one folder, a file each with mode 0600.

    Args:
        folder: made if missing, with mode 0700.
        entropy: draws secrets.

    Raises:
        FileError: the folder can't be made, or, later, a secret can't be read or written.
    """

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        self._folder, self._entropy = make_folder(folder), entropy

    def commit(self, device: str, job: str, number: int, tries: int) -> bytes:
        """Return the commitment to a participation (32 bytes); the secret is on disk before this returns."""
        path = self._folder / checked_device(device)
        if not path.exists():
            write_atomic(path, self._entropy(SECRET))
        return entries.commitment(self._salt(path, job, number, tries), device, job, number, tries)

    def salt(self, device: str, job: str, number: int, tries: int) -> bytes | None:
        """Return the salt (32 bytes) that opens one commitment, or None if the device was erased or never took part."""
        path = self._folder / checked_device(device)
        return self._salt(path, job, number, tries) if path.exists() else None

    def erase(self, device: str) -> bool:
        """Delete a device's secret; return whether there was one. What the disk keeps of a deleted file is its matter.

        Raises:
            FileError: it can't be deleted.
        """
        path = self._folder / checked_device(device)
        if not path.exists():
            return False
        try:
            path.unlink()
            flush_folder(self._folder)
        except OSError as error:
            raise FileError(f"{path} can't be deleted: {error.strerror}; look at its permissions") from error
        return True

    def _salt(self, path: Path, job: str, number: int, tries: int) -> bytes:
        return prg.kdf(read_secret(path, SECRET), cbor.encode(["salt", job, number, tries]))
