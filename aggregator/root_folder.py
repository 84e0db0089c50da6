"""The fleet root's folder: it signs the next roles document, with keys that are drawn anew where that was asked for.

Kept offline. What others need of it is written into a folder that is laid out as the fleet's parts are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import SignatureError, UsageError
from accord.files import make_folder, read_limited, read_secret, write_atomic
from accord.ids import AGGREGATOR
from accord.signing import SEED_SIZE, SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Roles, opened
from aggregator.fleet_folder import KEY, LARGEST, PUBLIC, ROLES

REPLACEABLE = (AGGREGATOR, "enrolment", "publisher")
TAKERS = (AGGREGATOR, "enrolment")
"""Whose folders hold the roles document."""


@dataclass(frozen=True, kw_only=True)
class NextRoles:
    """What was signed, and the files that were written, to be carried to where they belong."""

    roles: Roles
    files: tuple[Path, ...]


class RootFolder:
    """The root's part of a fleet, or a fleet for development.

    Args:
        path: the folder.
        newest: the newest roles document; None means the one in the folder.

    Raises:
        FileError: a file is missing, or the key is readable by others.
        UsageError: the document is not this root's.
    """

    def __init__(self, path: Path, newest: Path | None = None) -> None:
        self.path = path
        self.together = (path / "keys").is_dir()
        self._key = SigningKey(read_secret(path / "keys" / "root" if self.together else path / KEY, SEED_SIZE))
        source = newest or path / ROLES
        letter = Envelope.decode(read_limited(source, LARGEST))
        try:
            letter.check(self._key.public)
        except SignatureError as error:
            raise UsageError(f"{source} was not signed by the root in {path}: is it another fleet's?") from error
        self.roles = opened(letter, Roles)

    def sign_next(self, expires: int, rotate: Sequence[str], entropy: Entropy, out: Path | None) -> NextRoles:
        """Sign the document that follows, and write what is to be carried.

        Args:
            expires: when it ends, wall time in seconds.
            rotate: roles of `REPLACEABLE` that get another key.
            entropy: keys are drawn from it.
            out: the folder to write into, with one folder for each part; None only for a fleet for development, whose
                own files are replaced.

        Raises:
            UsageError: it would end before the one in force, or there is nowhere to write to.
            FileError: a file can't be written.
        """
        if out is None and not self.together:
            raise UsageError("give --out DIR: what is written there is carried to the aggregator and to enrolment")
        if expires < self.roles.expires:
            raise UsageError("the next roles document would end before the one in force: give more --days")
        version = self.roles.version + 1
        keys = {role: SigningKey(entropy.child("role", role, version)(SEED_SIZE)) for role in dict.fromkeys(rotate)}
        now = self.roles
        named = {role: keys[role].public if role in keys else getattr(now, role) for role in REPLACEABLE}
        self.roles = Roles(tenant=now.tenant, version=version, expires=expires, **named)
        tenant = self.roles.tenant
        letter = seal(TAG_OF[Roles], self.roles.encode(), key=self._key, sender="root", recipient=tenant).encode()
        # Keys first: a document that is in force and whose keys are lost would end the fleet.
        files = [self._write(self._place(role, out, version), key.seed) for role, key in sorted(keys.items())]
        write_atomic(self.path / ROLES, letter, PUBLIC)
        if out is not None:
            files += [self._write(out / part / ROLES, letter, PUBLIC) for part in TAKERS]
        return NextRoles(roles=self.roles, files=tuple(files))

    def _place(self, role: str, out: Path | None, version: int) -> Path:
        return self.path / "keys" / f"{role}-{version}" if out is None else out / role / f"{KEY}-{version}"

    @staticmethod
    def _write(path: Path, data: bytes, mode: int = 0o600) -> Path:
        write_atomic(make_folder(path.parent) / path.name, data, mode)
        return path
