"""Content-addressed files: each is named by its BLAKE2b-256, written whole, and verified whenever it is read."""

import os
from collections.abc import Collection
from pathlib import Path

from accord import prg
from accord.errors import AccordError
from accord.files import FileError, make_folder, read_limited, remove, write_atomic

BLOBS = "blobs"
"""The folder of blobs inside an aggregator's state folder."""
LARGEST = 1 << 31
"""Bytes of one blob: no letter is larger."""


class DamagedBlobError(AccordError):
    """A file does not hold the bytes that its name stands for: restore it from a backup, and look at the disk."""


class MissingBlobError(AccordError):
    """A file that something refers to is not there: restore it from a backup."""


class Blobs:
    """The blobs of one folder, in up to 256 subfolders by the first two digits of their names.

    Args:
        folder: where they lie; made (0700) when it isn't there.
    """

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = make_folder(folder)

    def __contains__(self, name: bytes) -> bool:
        return self._path(name).exists()

    def put(self, data: bytes) -> bytes:
        """Keep `data` and return its 32-byte digest; what is there already, and whole, is not written again.

        Raises:
            FileError: the disk is full, read-only or not ours.
        """
        name = prg.digest(data)
        path = self._path(name)
        try:
            self.get(name)
            os.utime(path)  # `collect` leaves alone what was put lately, as nothing may refer to it yet
        except (DamagedBlobError, MissingBlobError, FileError, FileNotFoundError):
            make_folder(path.parent)
            write_atomic(path, data)
        return name

    def get(self, name: bytes) -> bytes:
        """Return the bytes whose 32-byte digest is `name`.

        Raises:
            MissingBlobError: they are not there.
            DamagedBlobError: the file holds other bytes.
            FileError: it can't be read.
        """
        path = self._path(name)
        if not path.exists():
            raise MissingBlobError(f"{path} is not there: restore it from a backup")
        data = read_limited(path, LARGEST)
        if prg.digest(data) != name:
            raise DamagedBlobError(
                f"{path} holds {len(data)} bytes that are not those of its name: restore it from a backup, and look at "
                "the disk"
            )
        return data

    def drop(self, name: bytes) -> None:
        """Remove a file that nothing refers to any more, if it is there.

        Raises:
            FileError: it can't be removed.
        """
        if name in self:
            remove(self._path(name))

    def names(self) -> frozenset[bytes]:
        """Return the digest of every file, unread."""
        return frozenset(bytes.fromhex(path.parent.name + path.name) for path in self._files() if path.suffix != ".tmp")

    def collect(self, keep: Collection[bytes], before: float) -> int:
        """Remove what nothing refers to, and temporary files that a crash left behind.

        Args:
            keep: digests that something refers to.
            before: wall time in seconds; what was put later stays, as its reference may not be committed yet.

        Returns:
            The number of files removed.

        Raises:
            FileError: a file can't be removed.
        """
        kept, gone = {self._path(name) for name in keep}, 0
        for path in self._files():
            if path not in kept and self._is_older(path, before):  # asked right before it goes: it may be put meanwhile
                remove(path)
                gone += 1
        return gone

    @staticmethod
    def _is_older(path: Path, before: float) -> bool:
        try:
            return path.stat().st_mtime < before
        except FileNotFoundError:  # another process was quicker
            return False

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("[0-9a-f][0-9a-f]/*") if path.is_file())

    def _path(self, name: bytes) -> Path:
        text = name.hex()
        return self._folder / text[:2] / text[2:]
