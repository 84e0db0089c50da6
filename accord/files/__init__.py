"""The only door to a disk. The functions are those of a `Disk` over the operating system's files."""

from accord.files.disk import ADVICE, PRIVATE, Disk, FileError
from accord.files.folder_lock import FolderLock
from accord.files.port import FileSystem, Space, Status
from accord.files.system import SystemFiles

__all__ = [
    "ADVICE",
    "DISK",
    "PRIVATE",
    "Disk",
    "FileError",
    "FileSystem",
    "FolderLock",
    "Space",
    "Status",
    "SystemFiles",
    "append",
    "make_folder",
    "read_limited",
    "read_private",
    "read_secret",
    "remove",
    "write_atomic",
]

DISK = Disk(SystemFiles())
"""This machine's disk: what everything writes to unless it is given another."""
write_atomic = DISK.write_atomic
append = DISK.append
remove = DISK.remove
make_folder = DISK.make_folder
read_limited = DISK.read_limited
read_private = DISK.read_private
read_secret = DISK.read_secret
