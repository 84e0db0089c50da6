"""The passwords of a fleet's clients at the broker, read from the fleet's folder by whoever sets a broker up."""

from pathlib import Path

from accord.errors import UsageError
from accord.files import read_private
from accord.ids import AGGREGATOR

LARGEST = 1_024  # bytes


def of_fleet(fleet: Path) -> dict[str, Path]:
    """Return the password files of a fleet for development, or of the aggregator's part of one.

    Raises:
        UsageError: it is no fleet's folder.
    """
    files = {path.parent.name: path for path in sorted((fleet / "devices").glob("*/password"))}
    places = (fleet / "passwords" / AGGREGATOR, fleet / AGGREGATOR / "password", fleet / "password")
    found = next((path for path in places if path.exists()), None)
    if found is None:
        raise UsageError(f"{fleet} is no fleet's folder: it holds no password of the aggregator")
    return files | {AGGREGATOR: found}


def password(file: Path) -> str:
    """Return what one file holds.

    Raises:
        UsageError: it is empty.
        FileError: it is missing, or readable by others.
    """
    found = read_private(file, LARGEST).decode(errors="replace").strip()
    if not found:
        raise UsageError(f"{file} is empty: write the password into it")
    return found
