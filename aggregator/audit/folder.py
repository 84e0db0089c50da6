"""An audit log as a folder: `AuditFolder` writes it, `AuditFiles` reads it while another process may be writing.

entries       the log, a file of records
checkpoints   what the aggregator signed, a file of records
roles/N       the signed roles documents, by version: whose signatures count

The secrets behind participation commitments lie beside it (`aggregator.audit.salts`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from accord.errors import CodecError
from accord.files import DISK, Disk, FileError, FolderLock, SystemFiles
from accord.wire.envelope import Envelope
from accord.wire.messages import Checkpoint, Roles, opened
from aggregator.audit.log import AuditError
from aggregator.audit.record_file import Frame, RecordFile, frames

FOLDER = "audit"
"""Its name in the aggregator's state."""
LARGEST = 1 << 16  # bytes of a roles document


class AuditFiles:
    """The log in a state folder, for reading.

    Args:
        state: the aggregator's state folder.
        disk: where it lies.

    Raises:
        AuditError: there is no log in it.
    """

    def __init__(self, state: Path, disk: Disk = DISK) -> None:
        self.path, self._disk = state / FOLDER, disk
        if not disk.exists(self._entries):
            raise AuditError(f"{self.path} holds no audit log: give the aggregator's state folder with --state")

    @property
    def _entries(self) -> Path:
        return self.path / "entries"

    @property
    def size(self) -> int:
        """The bytes of the entries."""
        return self._disk.size(self._entries)

    def checkpoints(self) -> list[Frame]:
        """Return the signed checkpoints as they lie there."""
        path = self.path / "checkpoints"
        return list(frames(path, disk=self._disk)) if self._disk.exists(path) else []

    def entries(self, *, start: int = 0, index: int = 0) -> Iterator[Frame]:
        """Read the entries from an offset on (see `record_file.frames`)."""
        return frames(self._entries, start=start, index=index, disk=self._disk)

    def settled(self, *, start: int = 0, index: int = 0) -> Iterator[Frame]:
        """Read the same, without a record at the end that is being written just now."""
        return (frame for frame in self.entries(start=start, index=index) if frame.whole)

    def roles(self) -> list[bytes]:
        """Return the roles documents that were kept, newest first."""
        folder = self.path / "roles"
        versions = sorted((int(name) for name in self._disk.names(folder) if name.isdigit()), reverse=True)
        return [self._disk.read_limited(folder / str(version), LARGEST) for version in versions]


class AuditFolder:
    """The log in a state folder, for its one writer; a `Storage`.

    Args:
        state: the aggregator's state folder.
        disk: where it lies.

    Raises:
        FileError: another process writes it, or an entry that was signed is damaged or missing.
    """

    def __init__(self, state: Path, disk: Disk = DISK) -> None:
        self.path, self._disk = disk.make_folder(state / FOLDER), disk
        # A disk in memory has one process.
        self._lock = FolderLock(self.path) if isinstance(disk.system, SystemFiles) else None
        try:
            self._checkpoints = RecordFile(self.path / "checkpoints", disk=disk)
            signed = list(self.checkpoints())
            kept = opened(Envelope.decode(signed[-1]), Checkpoint).size if signed else 0
            self._entries = RecordFile(self.path / "entries", kept, disk)
        except CodecError as error:
            self.close()
            raise FileError(f"{self.path / 'checkpoints'} ends with no checkpoint: bring back a copy") from error
        except FileError:
            self.close()
            raise
        self.cut = self._entries.cut + self._checkpoints.cut
        """Bytes of a torn end that were cut off; no entry among them was ever signed."""

    def append(self, leaves: Sequence[bytes]) -> None:
        """Write entries; durable when this returns."""
        self._entries.append(leaves)

    def leaves(self, start: int, end: int | None = None) -> Iterator[bytes]:
        """Read the entries `start` to `end` (not included)."""
        for frame in self._entries.read(start, len(self._entries) if end is None else end):
            if not frame.fits:
                raise FileError(f"{self.path / 'entries'}: entry {frame.index} has been damaged: bring back a copy")
            yield frame.data

    def keep(self, _size: int, checkpoint: bytes) -> None:
        """Write a signed checkpoint; durable when this returns."""
        self._checkpoints.append([checkpoint])

    def checkpoints(self) -> Iterator[bytes]:
        """Read the signed checkpoints."""
        return (frame.data for frame in self._checkpoints.read(0, len(self._checkpoints)))

    def keep_roles(self, roles: bytes) -> None:
        """Keep a signed roles document beside the log: proofs carry it, and `accord audit verify` looks at it.

        Raises:
            FileError: `OldRoles`, a newer one was in use: roles never go back.
        """
        version = opened(Envelope.decode(roles), Roles).version
        folder, kept = self.path / "roles", self.newest_roles()
        newest = opened(Envelope.decode(kept), Roles).version if kept else 0
        if version < newest:
            raise FileError(
                f"the roles document has version {version}, but {newest} was in use here: bring back the newest one",
                "OldRoles",
            )
        path = folder / str(version)
        if not self._disk.exists(path):
            self._disk.write_atomic(path, roles)

    def newest_roles(self) -> bytes:
        """Return the roles document with the highest version that was kept; empty if none was."""
        folder = self._disk.make_folder(self.path / "roles")
        newest = max((int(name) for name in self._disk.names(folder) if name.isdigit()), default=0)
        return self._disk.read_limited(folder / str(newest), LARGEST) if newest else b""

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            self._lock.close()
