"""The operating system's file system, and how many bytes went into it."""

import os
import stat
from pathlib import Path

from accord.files.port import Space, Status


class SystemFiles:
    """The port `FileSystem` over `os`."""

    def __init__(self) -> None:
        self.written = 0
        """Bytes written by this process through this door, for a budget of flash wear."""

    def open(self, path: Path, flags: int, mode: int) -> int:
        """Open; a handle never goes to another program."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def status(self, what: Path | int) -> Status:
        """Return the status."""
        found = os.stat(what)  # noqa: PTH116 - of a handle as well
        return Status(folder=stat.S_ISDIR(found.st_mode), mode=stat.S_IMODE(found.st_mode), size=found.st_size)

    def chmod(self, handle: int, mode: int) -> None:
        """Set permission bits whatever the umask says."""
        os.fchmod(handle, mode)

    def read(self, handle: int, size: int) -> bytes:
        """Read."""
        return os.read(handle, size)

    def seek(self, handle: int, offset: int) -> None:
        """Seek."""
        os.lseek(handle, offset, os.SEEK_SET)

    def write(self, handle: int, data: memoryview) -> int:
        """Write, and count."""
        count = os.write(handle, data)
        self.written += count
        return count

    def truncate(self, handle: int, size: int) -> None:
        """Cut."""
        os.ftruncate(handle, size)

    def sync(self, handle: int) -> None:
        """Wait for the medium."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Give back."""
        os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Rename."""
        old.replace(new)

    def unlink(self, path: Path) -> None:
        """Unlink."""
        path.unlink()

    def mkdir(self, path: Path, mode: int) -> None:
        """Make."""
        path.mkdir(mode)

    def names(self, folder: Path) -> list[str]:
        """List."""
        return os.listdir(folder)  # noqa: PTH208 - names, not paths

    def space(self, folder: Path) -> Space:
        """Ask statvfs: what an ordinary user may still use counts as free."""
        found = os.statvfs(folder)
        return Space(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)
