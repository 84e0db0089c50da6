"""A fleet's keys and documents as files, in one of two layouts; every secret is alone in a file of mode 0600.

Made with `--dev`, all of it lies in one folder:

keys/{root,enrolment,aggregator,publisher}   32 secret bytes each
roles, revocations, checkpoint               signed documents
root.pub                                     the fleet root's public key, hexadecimal
transport/                                   the transport CA: `aggregator.transport_ca`
tls/                                         the broker's and the aggregator's own: `aggregator.tls_folder`
devices/ID/{identity,password,certificate}   what one device needs beside the public files
devices/ID/{tls.key,tls.pem}                 its key and certificate for TLS
passwords/aggregator                         the aggregator's own at the broker
ledger/                                      what enrolment remembers

Made without it, each role has a folder that can lie on another machine:

root/{key,root.pub,roles}                    signs roles; kept offline
enrolment/{key,root.pub,roles,revocations,ledger/}
publisher/key                                signs bundles
transport/                                   certifies TLS keys; lies with enrolment
aggregator/{key,password,root.pub,roles,revocations,checkpoint,tls/}

A key that is replaced stays until it is deleted: the one of roles version N lies beside it as NAME-N. Which one counts
is what the roles document says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from accord.files import DISK, Disk, FileError, read_limited, read_private
from accord.ids import AGGREGATOR, checked_device
from accord.signing import SigningKey
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles, opened
from aggregator.coordinator_values import Office
from aggregator.tls_folder import TlsFolder
from aggregator.transport_ca import CRL
from aggregator.transport_ca import FOLDER as TRANSPORT

KEYS = ("root", "enrolment", "aggregator", "publisher")
KEY = "key"
ROOT, ROLES, REVOCATIONS, CHECKPOINT = "root.pub", "roles", "revocations", "checkpoint"
TLS_KEY, TLS_CERTIFICATE = "tls.key", "tls.pem"
PUBLIC = 0o644
LARGEST = 1 << 20  # bytes of a document
PASSWORD = 24  # random bytes, written as hexadecimal


@dataclass(frozen=True, kw_only=True)
class FleetFolder:
    """The places of the aggregator's files: a fleet for development, a fleet in parts, or the aggregator's part."""

    path: Path

    @property
    def together(self) -> bool:
        """Whether it is a fleet for development, all in one folder."""
        return (self.path / "keys").is_dir()

    @property
    def home(self) -> Path:
        """The folder of the documents that the aggregator hands on."""
        parts = not self.together and (self.path / AGGREGATOR).is_dir()
        return self.path / AGGREGATOR if parts else self.path

    @property
    def revoked(self) -> Path:
        """The transport CA's list of revoked certificates, PEM, in a fleet that lies in one folder."""
        return self.path / TRANSPORT / CRL

    @property
    def tls(self) -> TlsFolder:
        """The TLS files of the aggregator's machine; a fleet that was made without a transport CA has none."""
        return TlsFolder(path=self.home / "tls")

    @property
    def devices(self) -> tuple[str, ...]:
        """The ids of the devices that were made here, in order."""
        folder = self.path / "devices"
        return tuple(sorted(one.name for one in folder.iterdir())) if folder.is_dir() else ()

    def device(self, name: str) -> Path:
        """The folder of one device."""
        return self.path / "devices" / checked_device(name)

    def publisher(self) -> SigningKey:
        """The newest key that signs bundles; never needed by the aggregator's process."""
        *_, newest = keys_at(self.path / "keys" / "publisher" if self.together else self.path / "publisher" / KEY)
        return newest

    def password(self) -> str:
        """The aggregator's own password at the broker.

        Raises:
            FileError: the file is missing or readable by others.
        """
        path = self.path / "passwords" / AGGREGATOR if self.together else self.home / "password"
        return read_private(path, 256).decode().strip()

    def passwords(self) -> dict[str, str]:
        """Every client's password at the broker, for whoever sets the broker up."""
        found = {name: read_private(self.device(name) / "password", 256).decode() for name in self.devices}
        return found | {AGGREGATOR: self.password()}

    @property
    def aggregator_key(self) -> Path:
        """The aggregator's first key."""
        return self.path / "keys" / AGGREGATOR if self.together else self.home / KEY

    def office(self, roles_data: bytes = b"") -> Office:
        """The aggregator's own key and the documents that it hands on.

        Args:
            roles_data: the roles document; empty means the file.

        Raises:
            FileError: a file is missing, or a secret is readable by others; `MissingKey`, the key that the roles
                document names is not here.
        """
        home = self.home
        roles_data = roles_data or read_limited(home / ROLES, LARGEST)
        roles = opened(Envelope.decode(roles_data), Roles)
        return Office(
            tenant=roles.tenant,
            key=named_key(self.aggregator_key, roles.aggregator, roles.version),
            roles=roles_data,
            roles_version=roles.version,
            enrolment=roles.enrolment,
            revocations=read_limited(home / REVOCATIONS, LARGEST),
            checkpoint=read_limited(home / CHECKPOINT, LARGEST),
        )


def keys_at(first: Path, disk: Disk = DISK) -> Iterator[SigningKey]:
    """Yield a role's first key and those that came after it, newest last.

    Raises:
        FileError: one is readable by others or has another size.
    """
    later = [name for name in disk.names(first.parent) if re.fullmatch(rf"{first.name}-[0-9]+", name)]
    for name in (first.name, *sorted(later, key=lambda name: int(name.rpartition("-")[2]))):
        if disk.exists(first.parent / name):
            yield SigningKey(disk.read_secret(first.parent / name, 32))


def named_key(first: Path, public: bytes, version: int, disk: Disk = DISK) -> SigningKey:
    """Return the key of a role that the roles document of a version names.

    Raises:
        FileError: `MissingKey`; or one is readable by others or has another size.
    """
    for key in keys_at(first, disk):
        if key.public == public:
            return key
    raise FileError(
        f"{first.parent} has no key that roles version {version} names: is it the right folder? Else put "
        f"the file {first.name}-{version} there that `accord fleet roles` wrote",
        "MissingKey",
    )


@dataclass(frozen=True, kw_only=True)
class EnrolmentFolder:
    """The places of enrolment's files: its part of a fleet, or a fleet for development."""

    path: Path
    disk: Disk = DISK

    def key(self, public: bytes, version: int) -> SigningKey:
        """Enrolment's key, whose public half the roles document of this version names.

        Raises:
            FileError: it is missing or readable by others.
        """
        return named_key(self._first_key, public, version, self.disk)

    def every_key(self) -> tuple[SigningKey, ...]:
        """Every key that enrolment has had and that is still here."""
        return tuple(keys_at(self._first_key, self.disk))

    @property
    def _first_key(self) -> Path:
        together = self.path / "keys" / "enrolment"
        return together if self.disk.exists(together) else self.path / KEY

    def root(self) -> bytes:
        """The fleet root's public key, 32 bytes."""
        return bytes.fromhex(self.disk.read_limited(self.path / ROOT, 256).decode())

    def roles(self) -> bytes:
        """The signed roles document."""
        return self.disk.read_limited(self.path / ROLES, LARGEST)

    def revocations(self) -> bytes:
        """The signed revocation list."""
        return self.disk.read_limited(self.path / REVOCATIONS, LARGEST)
