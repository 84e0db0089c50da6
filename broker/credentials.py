"""Who may log in: client ids with salted scrypt hashes (RFC 7914), one line each, in a file that is ours alone."""

import hashlib
import hmac
import logging
from collections.abc import Mapping
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import CodecError, UsageError
from accord.files import FileError, read_private, write_atomic
from accord.ids import checked_name

LARGEST = 1 << 24  # bytes of the file
SALT = 16  # bytes
COST = 1 << 10  # scrypt's N: passwords are 24 random bytes, and 500 devices may come back at once
LOG = logging.getLogger("accord.broker")
_UNKNOWN = (b"\0" * SALT, b"\0" * 32)


def _hash(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=COST, r=8, p=1, dklen=32)


class Credentials:
    """The clients that may log in; shows nothing of their hashes."""

    def __init__(self, hashes: Mapping[str, tuple[bytes, bytes]]) -> None:
        self._hashes = dict(hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def check(self, client: str, password: bytes) -> bool:
        """Return whether this is the client's password; an unknown client takes as long as a known one."""
        salt, expected = self._hashes.get(client, _UNKNOWN)
        return hmac.compare_digest(_hash(password, salt), expected) and client in self._hashes


def _line(client: str, password: str, entropy: Entropy) -> str:
    salt = entropy(SALT)
    return f"{checked_name(client, 'client id')} {salt.hex()} {_hash(password.encode(), salt).hex()}\n"


def write(path: Path, passwords: Mapping[str, str], entropy: Entropy) -> None:
    """Write the hashes of every client's password; whoever was in the file before is gone.

    Raises:
        CodecError: a client id is no name.
        FileError: the file can't be written.
    """
    write_atomic(path, "".join(_line(*one, entropy) for one in sorted(passwords.items())).encode())


def add(path: Path, passwords: Mapping[str, str], entropy: Entropy) -> None:
    """Let clients log in, or change their passwords; one process at a time may do so.

    Raises:
        CodecError: a client id is no name.
        UsageError: a line of the file is not one of ours.
        FileError: the file can't be read or written.
    """
    kept = []
    if path.exists():
        lines = _lines(path)
        read(path)  # what is damaged is not written again
        kept = [f"{line}\n" for line in lines if line.split(" ")[0] not in passwords]
    added = [_line(client, password, entropy) for client, password in passwords.items()]
    write_atomic(path, "".join(sorted([*kept, *added])).encode())


def _lines(path: Path) -> list[str]:
    return read_private(path, LARGEST).decode("ascii", "replace").splitlines()


def read(path: Path) -> Credentials:
    """Read the file that `write` and `add` wrote.

    Raises:
        UsageError: a line is not one of ours.
        FileError: it is missing, too large, or readable by others.
    """
    found = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            client, salt, digest = line.split(" ")
            found[checked_name(client, "client id")] = (bytes.fromhex(salt), bytes.fromhex(digest))
        except (ValueError, CodecError) as error:
            raise UsageError(f"{path}, line {number}: not a client, a salt and a hash") from error
    return Credentials(found)


class CredentialsFile:
    """The clients in a file, read again when the file was replaced, so that enrolment needs no restart.

    Whoever is connected stays so; a client that was taken out can't log in again.

    Raises:
        UsageError: a line is not one of ours.
        FileError: it is missing, too large, or readable by others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._known = read(path)

    def check(self, client: str, password: bytes) -> bool:
        """Return whether this is the client's password now."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._known = read(self._path)
            except (UsageError, FileError) as error:
                LOG.warning("the clients stay as they were: %s", error)
        return self._known.check(client, password)

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size
