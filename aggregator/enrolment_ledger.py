"""What enrolment remembers: open invitations, the certificates that were given out, the serial number given last.

One file per device, so that one write changes one device. A token itself is never kept: only what proves it.
"""

from pathlib import Path
from typing import ClassVar

from accord.errors import CodecError
from accord.files import DISK, Disk, FileError
from accord.ids import checked_device
from accord.records import Int, Many, Name, Nested, Octets, OneOf, Record, field
from accord.values import dataclass

FOLDER = "ledger"
_SERIAL, _DEVICES = "serial", "devices"
_SECONDS = Int(0, 2**48)
_NUMBER = Int(0, 2**32)
_KEY = Octets(32)
SPENT = 16
"""Spent tokens of one device that are told apart from unknown ones."""


@dataclass(frozen=True, kw_only=True)
class Invitation(Record):
    """An open invitation: what proves its token, and when it ends (wall time in seconds)."""

    key: bytes = field(_KEY)
    expires: int = field(_SECONDS)

    def __repr__(self) -> str:
        return f"Invitation(expires={self.expires})"


@dataclass(frozen=True, kw_only=True)
class Issued(Record):
    """One certificate, and the digest of the request that it answers; empty if nobody asked over the network."""

    serial: int = field(_NUMBER)
    expires: int = field(_SECONDS)
    identity: bytes = field(_KEY)
    request: bytes = field(Octets(0, 32))
    certificate: bytes = field(Octets(1, 512))


@dataclass(frozen=True, kw_only=True)
class LedgerEntry(Record):
    """One device: at most one open invitation, its certificates in the order of their serial numbers."""

    LIMIT: ClassVar[int] = 1 << 20

    form: str = field(OneOf(("enrolment-ledger/1",)))
    device: str = field(Name())
    invitation: tuple[Invitation, ...] = field(Many(Nested(Invitation), 0, 1))
    spent: tuple[bytes, ...] = field(Many(_KEY, 0, SPENT))
    issued: tuple[Issued, ...] = field(Many(Nested(Issued), 0, 1_024))


class EnrolmentLedger:
    """The ledger in enrolment's folder.

    Args:
        folder: enrolment's; a folder in it is made when something is written.
        disk: where it lies.
    """

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        self._path, self._disk = folder / FOLDER, disk

    @property
    def devices(self) -> tuple[str, ...]:
        """The ids that were ever invited or enrolled, in order."""
        folder = self._path / _DEVICES
        return tuple(sorted(self._disk.names(folder))) if self._disk.exists(folder) else ()

    def entry(self, device: str) -> LedgerEntry:
        """Return what is known of a device; an empty entry if that is nothing.

        Raises:
            CodecError: the id can't be a device's.
            FileError: the entry is damaged or can't be read.
        """
        path = self._path / _DEVICES / checked_device(device)
        if not self._disk.exists(path):
            return LedgerEntry(form="enrolment-ledger/1", device=device, invitation=(), spent=(), issued=())
        try:
            return LedgerEntry.decode(self._disk.read_private(path, LedgerEntry.LIMIT))
        except CodecError as error:
            raise FileError(f"{path} is damaged ({error}): bring back a copy of enrolment's folder") from error

    def put(self, entry: LedgerEntry) -> None:
        """Write an entry in place of the one before."""
        folder = self._disk.make_folder(self._path / _DEVICES)
        self._disk.write_atomic(folder / entry.device, entry.encode())

    def next_serial(self) -> int:
        """Return a serial number that was never given out; it is used up, whatever comes of it."""
        path = self._path / _SERIAL
        last = 0
        if self._disk.exists(path):
            text = self._disk.read_private(path, 32)
            if not text.isdigit():
                raise FileError(f"{path} is damaged: bring back a copy of enrolment's folder")
            last = int(text)
        self.start_at(last + 1)
        return last + 1

    def start_at(self, last: int) -> None:
        """Note that serial numbers up to `last` were given out."""
        self._disk.make_folder(self._path)
        self._disk.write_atomic(self._path / _SERIAL, str(last).encode())
