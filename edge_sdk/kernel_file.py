"""One small file of the kernel or of a system service, read within bounds."""

import os
from pathlib import Path

from accord.files import FileError, read_limited

SMALL = 4_096  # bytes


class Unreadable(Exception):  # noqa: N818 - a reading that fails is no error of ours
    """The file or folder is there and may not be read, or gives an error when read."""


def text(path: Path, limit: int = SMALL) -> str | None:
    """Return what a file holds, without white space at its ends; None if there is no such file.

    Raises:
        Unreadable: it is there and can't be read.
    """
    try:
        return read_limited(path, limit).decode("utf-8", "replace").strip()
    except FileError as error:
        if error.reason == "NotFound":
            return None
        raise Unreadable(str(error)) from error


def number(path: Path) -> float | None:
    """Return the number that a file holds; None if there is no such file or no number in it.

    Raises:
        Unreadable: the file is there and can't be read.
    """
    found = text(path)
    try:
        return None if found is None else float(found)
    except ValueError:
        return None


def names(folder: Path) -> list[str]:
    """Return the names in a folder, in order; none if it is missing.

    Raises:
        Unreadable: it is there and can't be read.
    """
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unreadable(str(error)) from error
