"""The lock that keeps a second process from using a folder; it goes with the process that holds it."""

import fcntl
import os
from pathlib import Path

from accord.files.disk import FileError


class FolderLock:
    """Held from when it is made until `close`.

    Args:
        path: the folder; nothing is written into it.

    Raises:
        FileError: `StateInUse`, another process (or this one, elsewhere) holds it; or the folder can't be opened, or
            lies on a file system without locks.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FileError(f"{path} can't be opened: {error.strerror}; look at its permissions") from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise FileError(f"{path} is in use by another process: stop that one first", "StateInUse") from error
        except OSError as error:
            self.close()
            raise FileError(f"{path} can't be locked: {error.strerror}; put it on a local disk") from error

    def close(self) -> None:
        """Let go of it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
