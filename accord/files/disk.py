"""What is durable and what is not: files that are whole or not there, appends that are whole or gone, bounded reads."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from accord.errors import AccordError
from accord.files.port import FileSystem, Space

PRIVATE = 0o600
"""Permission bits of a file that is ours alone."""
_TEMPORARY = ".tmp"
_PIECE = 1 << 20  # bytes that a stream reads at once
ADVICE = {
    errno.ENOSPC: ("DiskFull", "free some space (`df -h` shows where) and start again"),
    errno.EDQUOT: ("DiskFull", "the quota is used up: free some space or ask for more"),
    errno.EROFS: ("DiskReadOnly", "mount the disk for writing, or look in `dmesg` why the system made it read-only"),
    errno.EIO: ("DiskFailing", "the disk or card fails: save what you need and replace it"),
    errno.EACCES: ("NotOurs", "look at the owner and the permissions of the file and its folder"),
    errno.EPERM: ("NotOurs", "look at the owner and the permissions of the file and its folder"),
    errno.ELOOP: ("NotOurs", "a symbolic link stands there: remove it"),
    errno.ENOENT: ("NotFound", "look at the path"),
}
"""The named state and what to do, by the error number of the system."""


class FileError(AccordError):
    """A file could not be read or written; the message names it and says what to do.

    Args:
        message: the sentence.
        reason: the stable name of the state, in CamelCase: `DiskFull`, `DiskReadOnly`, `DiskFailing`, `NotOurs`,
            `NotFound`, `StateInUse`, or empty.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@contextlib.contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    """Turn an OSError into a FileError that says what to do."""
    try:
        yield
    except OSError as error:
        reason, advice = ADVICE.get(error.errno or 0, ("", "look at the path, the free space and the permissions"))
        raise FileError(f"{path} can't be {what}: {error.strerror}; {advice}", reason) from error


class Disk:
    """Every durable operation of the project, over one file system.

    A method that returns has made its change durable: after a power cut it is there. One that raises has left what was
    there before, whole.

    Args:
        system: the operating system's, or one in memory that loses power on demand (`accord.files.memory`).
    """

    def __init__(self, system: FileSystem) -> None:
        self.system = system

    def write_atomic(self, path: Path, data: bytes, mode: int = PRIVATE) -> None:
        """Write `data` so that after a power cut the file holds all of it or what it held before.

        Temporary file in the same folder, fsync, rename, fsync of the folder.

        Args:
            path: the file; its folder exists.
            data: all of it.
            mode: permission bits; 0600 unless the file is public.

        Raises:
            FileError: the disk is full, read-only or not ours.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
        with _named(path, "written"):
            try:
                self._fill(temporary, os.O_TRUNC, data, mode)
                self.system.rename(temporary, path)
                self._sync_folder(path.parent)
            except OSError:
                with contextlib.suppress(OSError):  # the first error is the one to tell
                    self.system.unlink(temporary)
                raise

    def append(self, path: Path, data: bytes, mode: int = PRIVATE) -> None:
        """Add `data` to the end of a file, which is made if it is missing.

        A power cut in the middle may leave a part of `data` at the end: readers of a log check each entry. After an
        error the file is as long as it was.

        Raises:
            FileError: the disk is full, read-only or not ours.
        """
        with _named(path, "written"):
            before = self._size(path)
            try:
                self._fill(path, os.O_APPEND, data, mode if before is None else None)
                if before is None:
                    self._sync_folder(path.parent)
            except OSError:
                with contextlib.suppress(OSError):  # the first error is the one to tell
                    self._cut(path, before)
                raise

    def cut(self, path: Path, size: int) -> None:
        """Shorten a file to its first `size` bytes. These and the file's name are durable then, whoever wrote them.

        Raises:
            FileError: it is missing, or the disk is read-only or not ours.
        """
        with _named(path, "written"):
            self._cut(path, size)
            self._sync_folder(path.parent)

    def remove(self, path: Path) -> bool:
        """Take a file away for good; return whether it was there.

        The name is gone for certain; flash memory may keep old bytes in spare blocks, as with every deletion.

        Raises:
            FileError: the disk is read-only or not ours.
        """
        with _named(path, "removed"):
            try:
                self.system.unlink(path)
            except FileNotFoundError:
                return False
            self._sync_folder(path.parent)
            return True

    def sweep(self, folder: Path) -> tuple[str, ...]:
        """Remove what writes that were cut off by a power cut left in a folder; return the names.

        Call it where nobody else writes into the folder, such as at the start of the process that owns it.

        Raises:
            FileError: the disk is read-only or not ours.
        """
        left = tuple(n for n in self.names(folder) if n.startswith(".") and n.endswith(_TEMPORARY))
        for name in left:
            self.remove(folder / name)
        return left

    def make_folder(self, path: Path) -> Path:
        """Make a folder that is ours alone (0700), with its parents, and return it.

        Raises:
            FileError: it can't be made.
        """
        with _named(path, "made"):
            missing = []
            at = path
            while (found := self._folder(at)) is None:
                missing.append(at)
                at = at.parent
            if not found:
                raise NotADirectoryError(errno.ENOTDIR, f"{at} is a file")
            for folder in reversed(missing):
                with contextlib.suppress(FileExistsError):  # somebody else made it at the same moment
                    self.system.mkdir(folder, 0o700)
                self._sync_folder(folder.parent)
        return path

    def read_limited(self, path: Path, limit: int) -> bytes:
        """Return the bytes of a file that has at most `limit` of them.

        Raises:
            FileError: it is missing, larger, or not ours to read.
        """
        return self._read(path, limit, private=False)

    def read_private(self, path: Path, limit: int) -> bytes:
        """Return the bytes of a file that nobody else may read, at most `limit` of them.

        Raises:
            FileError: others may read it, it is missing, larger, or not ours to read.
        """
        return self._read(path, limit, private=True)

    def read_secret(self, path: Path, size: int) -> bytes:
        """Return a secret of exactly `size` bytes from a file that nobody else may read.

        Raises:
            FileError: others may read it, or it has another size.
        """
        data = self.read_private(path, size)
        if len(data) != size:
            raise FileError(f"{path} holds {len(data)} bytes, not {size}")
        return data

    def stream(self, path: Path, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a file of any size from offset `start` on, in pieces of at most 1 MiB.

        Raises:
            FileError: it is missing or not ours to read.
        """
        with _named(path, "read"):
            handle = self.system.open(path, os.O_RDONLY, 0)
            try:
                self.system.seek(handle, start)
                while piece := self.system.read(handle, _PIECE):
                    yield piece
            finally:
                self.system.close(handle)

    def exists(self, path: Path) -> bool:
        """Return whether a file or folder is there."""
        with _named(path, "looked at"):
            return self._folder(path) is not None

    def size(self, path: Path) -> int:
        """Return the bytes of a file; 0 if it is missing."""
        with _named(path, "looked at"):
            return self._size(path) or 0

    def names(self, folder: Path) -> tuple[str, ...]:
        """Return the names in a folder, in order; none if it is missing."""
        with _named(folder, "read"):
            try:
                return tuple(sorted(self.system.names(folder)))
            except FileNotFoundError:
                return ()

    def space(self, folder: Path) -> Space:
        """Return the space of the file system that holds a folder.

        Raises:
            FileError: the folder is missing or not ours.
        """
        with _named(folder, "looked at"):
            return self.system.space(folder)

    def _fill(self, path: Path, flag: int, data: bytes, mode: int | None) -> None:
        system = self.system
        handle = system.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flag, PRIVATE if mode is None else mode)
        try:
            if mode is not None:
                system.chmod(handle, mode)
            view = memoryview(data)
            while view:
                view = view[system.write(handle, view) :]
            system.sync(handle)
        finally:
            system.close(handle)

    def _sync_folder(self, path: Path) -> None:
        handle = self.system.open(path, os.O_RDONLY | os.O_DIRECTORY, 0)
        try:
            self.system.sync(handle)
        finally:
            self.system.close(handle)

    def _cut(self, path: Path, size: int | None) -> None:
        if size is None:
            self.system.unlink(path)
            return
        handle = self.system.open(path, os.O_WRONLY | os.O_NOFOLLOW, 0)
        try:
            self.system.truncate(handle, size)
            self.system.sync(handle)
        finally:
            self.system.close(handle)

    def _folder(self, path: Path) -> bool | None:
        """Return whether a path is a folder; None if it is missing."""
        try:
            return self.system.status(path).folder
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _size(self, path: Path) -> int | None:
        try:
            return self.system.status(path).size
        except FileNotFoundError:
            return None

    def _read(self, path: Path, limit: int, *, private: bool) -> bytes:
        system = self.system
        parts, left = [], limit + 1
        with _named(path, "read"):
            handle = system.open(path, os.O_RDONLY, 0)
            try:
                if private and system.status(handle).mode & 0o077:
                    raise FileError(f"{path} is readable by others: chmod 600 {path}", "NotOurs")
                while left and (part := system.read(handle, left)):
                    parts.append(part)
                    left -= len(part)
            finally:
                system.close(handle)
        if not left:
            raise FileError(f"{path} is larger than {limit} bytes: is it the right file?")
        return b"".join(parts)
