"""The passwords of a fleet's clients at the broker, read from the fleet's folder by whoever sets a broker up."""

from pathlib import Path
from typing import TypeVar

from accord.errors import CodecError, UsageError
from accord.files import read_limited, read_private
from accord.ids import AGGREGATOR
from accord.records import Record
from accord.wire.envelope import Envelope
from accord.wire.messages import Certificate, Revocations, opened

M = TypeVar("M", bound=Record)
LARGEST = 1_024  # bytes
LARGEST_DOCUMENT = 1 << 20  # bytes of a signed document


def of_fleet(fleet: Path) -> dict[str, Path]:
    """Return the password files of a fleet for development, or of the aggregator's part of one; not of who is revoked.

    Raises:
        UsageError: it is no fleet's folder.
    """
    gone = revoked(fleet)
    found_files = sorted((fleet / "devices").glob("*/password"))
    files = {path.parent.name: path for path in found_files if path.parent.name not in gone}
    places = (fleet / "passwords" / AGGREGATOR, fleet / AGGREGATOR / "password", fleet / "password")
    found = next((path for path in places if path.exists()), None)
    if found is None:
        raise UsageError(f"{fleet} is no fleet's folder: it holds no password of the aggregator")
    return files | {AGGREGATOR: found}


def revoked(fleet: Path) -> dict[str, str]:
    """Return the devices of a fleet for development whose certificates in its folder are revoked, and their passwords.

    Raises:
        UsageError: a document is damaged, or a password is missing.
        FileError: a file can't be read.
    """
    folders = [path.parent for path in (fleet / "devices").glob("*/certificate")]
    if not folders or not (fleet / "revocations").exists():
        return {}
    try:
        serials = set(_opened(fleet / "revocations", Revocations).serials)
        gone = [one for one in folders if _opened(one / "certificate", Certificate).serial in serials]
    except CodecError as error:
        raise UsageError(f"a certificate or the revocation list in {fleet} is damaged: {error}") from error
    return {one.name: password(one / "password") for one in gone}


def _opened(file: Path, kind: type[M]) -> M:
    return opened(Envelope.decode(read_limited(file, LARGEST_DOCUMENT)), kind)


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
