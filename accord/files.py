"""The only door to a disk: files that are whole or not there, and reads that are bounded."""

import os
from pathlib import Path

from accord.errors import AccordError

PRIVATE = 0o600


class FileError(AccordError):
    """A file could not be read or written; the message names it and says what to look at."""


def write_atomic(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Write `data` so that after a power cut the file holds all of it or what it held before.

    Temporary file in the same folder, fsync, rename, fsync of the folder.

    Args:
        path: the file; its folder exists.
        data: all of it.
        mode: permission bits; 0600 unless the file is public.

    Raises:
        FileError: the disk is full, read-only or not ours.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        try:
            os.fchmod(handle, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FileError(f"{path} can't be written: {error.strerror}; look at free space and permissions") from error


def read_limited(path: Path, limit: int) -> bytes:
    """Return the bytes of a file that has at most `limit` of them.

    Raises:
        FileError: it is missing, larger, or not ours to read.
    """
    return _read(path, limit, private=False)


def read_private(path: Path, limit: int) -> bytes:
    """Return the bytes of a file that nobody else may read, at most `limit` of them.

    Raises:
        FileError: others may read it, it is missing, larger, or not ours to read.
    """
    return _read(path, limit, private=True)


def read_secret(path: Path, size: int) -> bytes:
    """Return a secret of exactly `size` bytes from a file that nobody else may read.

    Raises:
        FileError: others may read it, or it has another size.
    """
    data = read_private(path, size)
    if len(data) != size:
        raise FileError(f"{path} holds {len(data)} bytes, not {size}")
    return data


def _read(path: Path, limit: int, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            if private and os.fstat(file.fileno()).st_mode & 0o077:
                raise FileError(f"{path} is readable by others: chmod 600 {path}")
            data = file.read(limit + 1)
    except OSError as error:
        raise FileError(f"{path} can't be read: {error.strerror}; look at the path and its permissions") from error
    if len(data) > limit:
        raise FileError(f"{path} is larger than {limit} bytes: is it the right file?")
    return data


def make_folder(path: Path) -> Path:
    """Make a folder that is ours alone (0700), with its parents, and return it.

    Raises:
        FileError: it can't be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{path} can't be made: {error.strerror}") from error
    return path
