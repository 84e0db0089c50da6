"""An audit log as a folder: `AuditFolder` writes it, `AuditFiles` reads it while another process may be writing.

entries       the log, a file of records
checkpoints   what the aggregator signed, a file of records
roles/N       the signed roles documents, by version: whose signatures count
salts/DEVICE  the secrets behind participation commitments (`aggregator.audit.salts`)
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from accord.errors import CodecError
from accord.files import FileError, make_folder, read_limited, write_atomic
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

    Raises:
        AuditError: there is no log in it.
    """

    def __init__(self, state: Path) -> None:
        self.path = state / FOLDER
        if not self.entries_path.is_file():
            raise AuditError(f"{self.path} holds no audit log: give the aggregator's state folder with --state")

    @property
    def entries_path(self) -> Path:
        """The file of entries."""
        return self.path / "entries"

    def checkpoints(self) -> list[Frame]:
        """Return the signed checkpoints as they lie there."""
        path = self.path / "checkpoints"
        return list(frames(path)) if path.is_file() else []

    def entries(self, *, start: int = 0, index: int = 0) -> Iterator[Frame]:
        """Read the entries from an offset on (see `record_file.frames`)."""
        return frames(self.entries_path, start=start, index=index)

    def settled(self, *, start: int = 0, index: int = 0) -> Iterator[Frame]:
        """Read the same, without a record at the end that is being written just now."""
        return (frame for frame in self.entries(start=start, index=index) if frame.whole)

    def roles(self) -> list[bytes]:
        """Return the roles documents that were kept, newest first."""
        folder = self.path / "roles"
        found = [path for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
        return [read_limited(path, LARGEST) for path in sorted(found, key=lambda path: -int(path.name))]


class AuditFolder:
    """The log in a state folder, for its one writer; a `Storage`.

    Args:
        state: the aggregator's state folder.

    Raises:
        FileError: another process writes it, or an entry that was signed is damaged or missing.
    """

    def __init__(self, state: Path) -> None:
        self.path = make_folder(state / FOLDER)
        self._checkpoints = RecordFile(self.path / "checkpoints")
        try:
            signed = [frame.data for frame in self._checkpoints.read(0, len(self._checkpoints))]
            try:
                kept = opened(Envelope.decode(signed[-1]), Checkpoint).size if signed else 0
            except CodecError as error:
                raise FileError(f"{self._checkpoints.path} ends with no checkpoint: bring back a copy") from error
            self._entries = RecordFile(self.path / "entries", kept)
        except FileError:
            self._checkpoints.close()
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
                raise FileError(f"{self._entries.path}: entry {frame.index} has been damaged: bring back a copy")
            yield frame.data

    def keep(self, _size: int, checkpoint: bytes) -> None:
        """Write a signed checkpoint; durable when this returns."""
        self._checkpoints.append([checkpoint])

    def checkpoints(self) -> Iterator[bytes]:
        """Read the signed checkpoints."""
        return (frame.data for frame in self._checkpoints.read(0, len(self._checkpoints)))

    def keep_roles(self, roles: bytes) -> None:
        """Keep a signed roles document beside the log: proofs carry it, and `accord audit verify` looks at it."""
        version = opened(Envelope.decode(roles), Roles).version
        path = make_folder(self.path / "roles") / str(version)
        if not path.exists():
            write_atomic(path, roles)

    def close(self) -> None:
        """Let go of the files."""
        self._entries.close()
        self._checkpoints.close()
