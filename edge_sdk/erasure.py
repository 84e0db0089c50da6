"""Erasing a device: secrets, the attempt under way, journal, residual and examples, all that its state folder holds."""

from pathlib import Path

from accord.errors import UsageError
from accord.files import DISK, Disk
from edge_sdk.config import EXAMPLES
from edge_sdk.keystore import IDENTITY, KEYS
from edge_sdk.saved import FILES

FOLDERS = (KEYS, EXAMPLES)
"""The folders inside a state folder; what holds others is no state folder."""


def contents(state: Path, disk: Disk = DISK) -> tuple[str, ...]:
    """Return the files of a state folder, in the order in which they are erased: keys, attempt, the rest, examples.

    Raises:
        UsageError: this is no state folder: it holds other folders.
        FileError: it can't be read.
    """
    names = disk.names(state)
    folders = [name for name in names if disk.system.status(state / name).folder]
    strangers = [name for name in folders if name not in FOLDERS]
    if strangers:
        raise UsageError(f"{state} holds {strangers[0]}, which is not a device's: is it the right state folder?")
    inside = {name: [f"{name}/{file}" for file in disk.names(state / name)] for name in FOLDERS}
    inside[KEYS].sort(key=lambda name: name != f"{KEYS}/{IDENTITY}")  # the key is what must go first
    files = [name for name in names if name not in folders]
    first = [name for name in FILES if name in files]
    return (*inside[KEYS], *first, *(name for name in files if name not in first), *inside[EXAMPLES])


def erase(state: Path, disk: Disk = DISK) -> tuple[str, ...]:
    """Delete every file of a state folder and return their names; the folders stay. Begun anew, it goes on.

    Raises:
        UsageError: this is no state folder.
        FileError: a file can't be deleted.
    """
    found = contents(state, disk)
    for name in found:
        disk.remove(state / name)
    return found
