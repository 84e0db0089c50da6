"""The port: what a disk is asked for, one call of the operating system each. Holds no rule about durability."""

from pathlib import Path
from typing import Protocol

from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is known of a file or folder: whether it is a folder, permission bits, and size in bytes."""

    folder: bool
    mode: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Space:
    """Bytes of the file system that holds a folder: all of them, and those that we may still use."""

    total: int
    free: int


class FileSystem(Protocol):
    """A file system; every call raises OSError as `os` does. Handles are integers."""

    def open(self, path: Path, flags: int, mode: int) -> int:
        """Open with the flags of `os.open`; a new file gets `mode`."""
        ...

    def status(self, what: Path | int) -> Status:
        """Return the status of a path or an open handle."""
        ...

    def chmod(self, handle: int, mode: int) -> None:
        """Set the permission bits of an open file."""
        ...

    def read(self, handle: int, size: int) -> bytes:
        """Return up to `size` bytes from where the handle stands; none at the end."""
        ...

    def seek(self, handle: int, offset: int) -> None:
        """Let the next read of an open file begin at `offset` bytes."""
        ...

    def write(self, handle: int, data: memoryview) -> int:
        """Write a part of `data`, at least a byte, and return how many."""
        ...

    def truncate(self, handle: int, size: int) -> None:
        """Cut an open file to `size` bytes."""
        ...

    def sync(self, handle: int) -> None:
        """Return when what was written to a file, or the names in a folder, are on the medium."""
        ...

    def close(self, handle: int) -> None:
        """Give a handle back."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name in its folder, in place of whatever has that name."""
        ...

    def unlink(self, path: Path) -> None:
        """Take a file's name away."""
        ...

    def mkdir(self, path: Path, mode: int) -> None:
        """Make one folder; its parent is there."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, in any order."""
        ...

    def space(self, folder: Path) -> Space:
        """Return the space of the file system that holds a folder."""
        ...
