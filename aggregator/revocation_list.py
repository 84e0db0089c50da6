"""The newest revocation list among the files that enrolment's machine puts there; it never goes back."""

from collections.abc import Callable
from pathlib import Path

from accord.errors import CodecError, SignatureError
from accord.files import FileError, read_limited, write_atomic
from accord.wire.envelope import Envelope
from accord.wire.messages import Revocations, opened
from aggregator.fleet_folder import LARGEST, PUBLIC, REVOCATIONS

Stamp = tuple[int, ...]


class RevocationList:
    """The list that counts.

    Args:
        fleet: the folder of the aggregator's documents.
        state: the aggregator's state folder; the newest list is kept in it too.
        enrolment: the public key that signs lists, as the roles document names it.
        told: called with the name of the reason and a sentence when a file is not taken.

    Raises:
        FileError: the fleet's list can't be read.
        SignatureError: the fleet's list is not enrolment's.
    """

    def __init__(self, fleet: Path, state: Path, enrolment: bytes, told: Callable[[str, str], None]) -> None:
        self._paths, self._kept = (fleet / REVOCATIONS, state / REVOCATIONS), state / REVOCATIONS
        self._enrolment, self._told = enrolment, told
        self._stamps: dict[Path, Stamp] = {path: stamp(path) for path in self._paths}
        self.data = read_limited(self._paths[0], LARGEST)
        self.list = self._opened(self.data)
        if self._kept.exists():
            kept = self._read(self._kept)
            if kept is not None and kept[1].version > self.list.version:
                self.data, self.list = kept
        self._keep()

    def look(self) -> bool:
        """Take up a list with a higher version, and return whether there was one."""
        before = self.list.version
        for path in self._paths:
            now = stamp(path)
            if now != self._stamps[path]:
                self._stamps[path] = now
                self._take(path)
        return self.list.version > before

    def _take(self, path: Path) -> None:
        found = self._read(path)
        older = found is not None and found[1].version < self.list.version
        if older:
            self._told("OldRevocations", f"{path} is older than version {self.list.version}, which was seen: not taken")
        elif found is not None:
            self.data, self.list = found
        if path != self._kept or older or found is None:
            self._keep()

    def _read(self, path: Path) -> tuple[bytes, Revocations] | None:
        """Return what a file holds; one that is damaged or not enrolment's is told and left."""
        try:
            data = read_limited(path, LARGEST)
            return data, self._opened(data)
        except SignatureError as error:
            self._told("BadSignature", f"{path} is not taken: {error}")
        except CodecError as error:
            self._told("BadMessage", f"{path} is not taken: {error}")
        except FileError as error:
            self._told(error.reason or "FileError", f"{path} is not taken: {error}")
        return None

    def _keep(self) -> None:
        """Keep the newest one, whatever becomes of the file that it came in."""
        write_atomic(self._kept, self.data, PUBLIC)
        self._stamps[self._kept] = stamp(self._kept)

    def _opened(self, data: bytes) -> Revocations:
        letter = Envelope.decode(data)
        letter.check(self._enrolment)
        return opened(letter, Revocations)


def stamp(path: Path) -> Stamp:
    """Return what changes when a file or a folder's names do; empty if there is nothing."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
