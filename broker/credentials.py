"""Who may log in: client ids with salted scrypt hashes (RFC 7914), one line each, in a file that is ours alone."""

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import CodecError, UsageError
from accord.files import read_limited, write_atomic
from accord.ids import checked_name

LARGEST = 1 << 24  # bytes of the file
SALT = 16  # bytes
COST = 1 << 10  # scrypt's N: passwords are 24 random bytes, and 500 devices may come back at once
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


def write(path: Path, passwords: Mapping[str, str], entropy: Entropy) -> None:
    """Write the hashes of every client's password.

    Raises:
        CodecError: a client id is no name.
        FileError: the file can't be written.
    """
    lines = []
    for client, password in sorted(passwords.items()):
        salt = entropy(SALT)
        lines.append(f"{checked_name(client, 'client id')} {salt.hex()} {_hash(password.encode(), salt).hex()}\n")
    write_atomic(path, "".join(lines).encode())


def read(path: Path) -> Credentials:
    """Read the file that `write` wrote.

    Raises:
        UsageError: a line is not one of ours.
        FileError: it is missing or too large.
    """
    found = {}
    for number, line in enumerate(read_limited(path, LARGEST).decode("ascii", "replace").splitlines(), 1):
        try:
            client, salt, digest = line.split(" ")
            found[checked_name(client, "client id")] = (bytes.fromhex(salt), bytes.fromhex(digest))
        except (ValueError, CodecError) as error:
            raise UsageError(f"{path}, line {number}: not a client, a salt and a hash") from error
    return Credentials(found)
