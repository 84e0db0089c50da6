"""Who may log in: client ids with salted scrypt hashes (RFC 7914), one line each, in a file that is ours alone.

A line is `ID SALT HASH` for a password, `ID SALT HASH EXPIRES` for a token, which ends at a time in seconds since 1970,
or `ID certificate` for a client whose certificate is all that it needs, on listeners that require one.
"""

import hashlib
import hmac
import logging
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path

from accord.entropy import Entropy, SystemEntropy
from accord.errors import CodecError, UsageError
from accord.files import FileError, read_private, write_atomic
from accord.ids import checked_name
from accord.values import dataclass

LARGEST = 1 << 24  # bytes of the file
SALT = 16  # bytes
COST = 1 << 10  # scrypt's N: secrets are 24 random bytes, and 500 devices may come back at once
MOST_TOKENS = 4  # of one client that are not over: each is tried, and costs as long as a password
BY_CERTIFICATE = "certificate"
LOG = logging.getLogger("accord.broker")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One way for a client to log in: a hashed secret, until `expires` if that is not 0; or by certificate alone."""

    client: str
    salt: bytes = field(default=b"", repr=False)
    digest: bytes = field(default=b"", repr=False)
    expires: int = 0

    def valid(self, now: float) -> bool:
        """Return whether it is not over yet, in seconds since 1970."""
        return not self.expires or now < self.expires

    def holds(self, secret: bytes) -> bool:
        """Return whether this is the secret."""
        return bool(self.digest) and hmac.compare_digest(_hash(secret, self.salt), self.digest)

    def line(self) -> str:
        """Return its line in the file."""
        if not self.digest:
            return f"{self.client} {BY_CERTIFICATE}\n"
        end = f" {self.expires}" if self.expires else ""
        return f"{self.client} {self.salt.hex()} {self.digest.hex()}{end}\n"


_NOBODY = Entry(client="", salt=b"\0" * SALT, digest=b"\0" * 32)


def _hash(secret: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(secret, salt=salt, n=COST, r=8, p=1, dklen=32)


class Credentials:
    """The clients that may log in; shows nothing of their hashes."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: dict[str, tuple[Entry, ...]] = {}
        for entry in entries:
            self._entries[entry.client] = (*self._entries.get(entry.client, ()), entry)

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, client: str, secret: bytes, now: float) -> Entry | None:
        """Return the entry that lets a client in with a password or a token, or None.

        An unknown client takes as long as a known one with a password alone.
        """
        entries = [entry for entry in self._entries.get(client, ()) if entry.digest and entry.valid(now)]
        for entry in entries or [_NOBODY]:
            if entry.holds(secret):
                return entry
        return None

    def certified(self, client: str, now: float) -> Entry | None:
        """Return the entry of a client whose certificate is all that it needs, or None.

        Who has a password must say it: a certificate that was copied, or is of a device that was enrolled anew since,
        holds for months, and a new password shuts it out.
        """
        return next((entry for entry in self._entries.get(client, ()) if not entry.digest and entry.valid(now)), None)

    def lists(self, client: str, now: float) -> bool:
        """Return whether the client has an entry that is not over."""
        return any(entry.valid(now) for entry in self._entries.get(client, ()))

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._entries.get(entry.client, ())


@dataclass(frozen=True, kw_only=True)
class Login:
    """What `add` lets in: a client with a password, with a token that expires, or with its certificate alone."""

    client: str
    secret: str | None = field(default=None, repr=False)
    expires: int = 0

    def entry(self, entropy: Entropy) -> Entry:
        """Return it hashed.

        Raises:
            CodecError: the client id is no name.
        """
        checked_name(self.client, "client id")
        if self.secret is None:
            return Entry(client=self.client)
        salt = entropy(SALT)
        return Entry(client=self.client, salt=salt, digest=_hash(self.secret.encode(), salt), expires=self.expires)


def write(path: Path, passwords: Mapping[str, str], entropy: Entropy) -> None:
    """Write the hashes of every client's password; whoever was in the file before is gone.

    Raises:
        CodecError: a client id is no name.
        FileError: the file can't be written.
    """
    _write(path, [Login(client=client, secret=secret).entry(entropy) for client, secret in passwords.items()])


def add(path: Path, logins: Iterable[Login], entropy: Entropy, now: float) -> None:
    """Let clients log in; one process at a time may do so.

    A new password takes the place of the old one, a token stands beside what else there is, the newest
    `MOST_TOKENS` of them. What was there already stays as it is, and what is over is forgotten.

    Raises:
        CodecError: a client id is no name.
        UsageError: a line of the file is not one of ours.
        FileError: the file can't be read or written.
    """
    kept = [entry for entry in _entries(path) if entry.valid(now)] if path.exists() else []
    for login in logins:
        own = [entry for entry in kept if entry.client == login.client]
        if any(_same(entry, login) for entry in own):
            continue
        if login.secret is not None and not login.expires:
            own = [entry for entry in own if entry.expires or not entry.digest]
        tokens = sorted((entry for entry in own if entry.expires), key=lambda entry: entry.expires)
        dropped = tokens[: max(0, len(tokens) + 1 - MOST_TOKENS)] if login.expires else []
        own = [entry for entry in own if entry not in dropped]
        kept = [entry for entry in kept if entry.client != login.client] + own + [login.entry(entropy)]
    _write(path, kept)


def remove(path: Path, clients: Iterable[str]) -> tuple[str, ...]:
    """Take clients out of the file, and return those that were in it; a running broker cuts their connections.

    Raises:
        UsageError: a line of the file is not one of ours.
        FileError: the file can't be read or written.
    """
    unwanted, entries = set(clients), _entries(path)
    _write(path, [entry for entry in entries if entry.client not in unwanted])
    return tuple(sorted({entry.client for entry in entries} & unwanted))


def read(path: Path) -> Credentials:
    """Read the file that `write` and `add` wrote.

    Raises:
        UsageError: a line is not one of ours.
        FileError: it is missing, too large, or readable by others.
    """
    return Credentials(_entries(path))


def _same(entry: Entry, login: Login) -> bool:
    if login.secret is None:
        return not entry.digest
    return bool(entry.expires) == bool(login.expires) and entry.holds(login.secret.encode())


def _write(path: Path, entries: Iterable[Entry]) -> None:
    write_atomic(path, "".join(sorted(entry.line() for entry in entries)).encode())


def _entries(path: Path) -> list[Entry]:
    return [
        _entry(line, f"{path}, line {number}")
        for number, line in enumerate(read_private(path, LARGEST).decode("ascii", "replace").splitlines(), 1)
    ]


def _entry(line: str, where: str) -> Entry:
    try:
        client, *rest = line.split(" ")
        checked_name(client, "client id")
        if rest == [BY_CERTIFICATE]:
            return Entry(client=client)
        salt, digest, expires = (*rest, "0") if len(rest) == 2 else rest
        return Entry(client=client, salt=bytes.fromhex(salt), digest=bytes.fromhex(digest), expires=int(expires))
    except (ValueError, CodecError) as error:
        raise UsageError(f"{where}: not a client, a salt and a hash") from error


class CredentialsFile:
    """The clients in a file, read again when the file was replaced, so that enrolment needs no restart.

    Raises:
        UsageError: a line is not one of ours.
        FileError: it is missing, too large, or readable by others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = SystemEntropy()(32)
        self._proven: dict[str, tuple[bytes, Entry]] = {}
        self._stamp = self._look()
        self._known = read(path)

    def known(self) -> Credentials:
        """Return the clients that may log in now; those of before where the file is not ours any more."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._known = read(self._path)
            except (UsageError, FileError) as error:
                LOG.warning("the clients stay as they were: %s", error)
        return self._known

    def recalled(self, client: str, secret: bytes, now: float) -> Entry | None:
        """Return the entry by which a client has come in before with this very secret, if that is still good.

        A fleet that comes back all at once need not be hashed again, which is slow on purpose.
        """
        mac, entry = self._proven.get(client, (b"", _NOBODY))
        good = hmac.compare_digest(mac, self._mac(client, secret)) and entry in self.known() and entry.valid(now)
        return entry if good else None

    def recall(self, entry: Entry, secret: bytes) -> None:
        """Keep that a secret was the one of an entry: its keyed digest, and only while this process lives."""
        self._proven[entry.client] = (self._mac(entry.client, secret), entry)

    def _mac(self, client: str, secret: bytes) -> bytes:
        return hmac.digest(self._key, client.encode() + b"\0" + secret, "sha256")

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size
