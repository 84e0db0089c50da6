"""A device's secrets and documents in its state folder: the identity key, the password, and what enrolment gave it.

Each is a file of its own with mode 0600. The key is made on the device and never leaves it. The certificate is written
last, so that its presence says that an enrolment is whole. What TLS needs lies beside them, where there is any.
"""

from collections.abc import Callable
from dataclasses import field
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.files import DISK, Disk, FileError
from accord.signing import SEED_SIZE, SigningKey
from accord.values import dataclass

KEYS = "keys"
"""The folder's name within a state folder."""
IDENTITY, PASSWORD, CERTIFICATE, ROLES, ROOT = "identity", "password", "certificate", "roles", "root"
NAMES = (IDENTITY, PASSWORD, ROOT, ROLES, CERTIFICATE)
"""The files, in the order in which they are written."""
CA, TLS_KEY, TLS_CERTIFICATE = "ca.pem", "tls.key", "tls.pem"
TLS_NAMES = (TLS_KEY, CA, TLS_CERTIFICATE)
"""The pinned CA of the broker, and our key and certificate for TLS, all PEM."""
LARGEST_DOCUMENT = 65_536  # bytes
LARGEST_PASSWORD = 1_024  # bytes


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What enrolment gives a device beside its own key; documents are signed, and checked by whoever uses them."""

    password: str = field(repr=False)
    root: bytes  # the fleet root's public key, 32 bytes
    roles: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    transport: bytes = field(default=b"", repr=False)  # the certificate of the TLS key, PEM; empty if there is none


class Keystore:
    """The folder.

    Args:
        folder: made when something is written, with mode 0700.
        disk: that it lies on.
    """

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        self.folder, self._disk = folder, disk

    def __repr__(self) -> str:
        return f"Keystore({self.folder})"

    @property
    def present(self) -> tuple[str, ...]:
        """The names of the files that are there."""
        return tuple(name for name in NAMES if self._disk.exists(self.folder / name))

    @property
    def complete(self) -> bool:
        """Whether the device is enrolled: everything is there."""
        return self.present == NAMES

    def create_identity(self, entropy: Entropy) -> SigningKey:
        """Make this device's key and write it.

        Raises:
            UsageError: there is one already.
            FileError: it can't be written.
        """
        path = self.folder / IDENTITY
        if self._disk.exists(path):
            raise UsageError(f"{path} is there already: a device has one key; erase the device to give it another")
        key = SigningKey(entropy.child("identity")(SEED_SIZE))
        self._write(IDENTITY, key.seed)
        return key

    def identity(self) -> SigningKey:
        """Return this device's key.

        Raises:
            FileError: it is missing, readable by others, or has another size.
        """
        return SigningKey(self._disk.read_secret(self.folder / IDENTITY, SEED_SIZE))

    def pin(self, ca: bytes) -> None:
        """Write the certificate of the broker's CA, PEM.

        Raises:
            FileError: it can't be written.
        """
        self._write(CA, ca)

    def keep_tls_key(self, make: Callable[[], bytes]) -> bytes:
        """Return the key for TLS, PEM, which is made and written if there is none yet.

        Raises:
            FileError: it can't be read or written.
        """
        path = self.folder / TLS_KEY
        if not self._disk.exists(path):
            self._write(TLS_KEY, make())
        return self._disk.read_private(path, LARGEST_DOCUMENT)

    def save(self, credentials: Credentials) -> None:
        """Write what enrolment gave, in place of what it gave before.

        Raises:
            FileError: it can't be written.
        """
        self._disk.remove(self.folder / CERTIFICATE)
        self._write(PASSWORD, credentials.password.encode())
        self._write(ROOT, credentials.root.hex().encode())
        self._write(ROLES, credentials.roles)
        self._certified(credentials)

    def renew(self, credentials: Credentials) -> None:
        """Write a renewed certificate and the roles document that names its signer; at any moment one of both is whole.

        Raises:
            FileError: it can't be written.
        """
        self._write(ROLES, credentials.roles)
        self._certified(credentials)

    def load(self) -> Credentials:
        """Return what enrolment gave.

        Raises:
            UsageError: the device is not enrolled, or the enrolment was cut off.
            FileError: a file is readable by others, damaged, or can't be read.
        """
        missing = [name for name in NAMES if name not in self.present]
        if missing:
            raise UsageError(f"{self.folder} has no {' and no '.join(missing)}: enrol the device")
        tls = self.folder / TLS_CERTIFICATE
        return Credentials(
            password=self._disk.read_private(self.folder / PASSWORD, LARGEST_PASSWORD).decode().strip(),
            root=read_root(self.folder / ROOT, self._disk),
            roles=self._disk.read_private(self.folder / ROLES, LARGEST_DOCUMENT),
            certificate=self._disk.read_private(self.folder / CERTIFICATE, LARGEST_DOCUMENT),
            transport=self._disk.read_private(tls, LARGEST_DOCUMENT) if self._disk.exists(tls) else b"",
        )

    def erase(self) -> tuple[str, ...]:
        """Delete all of it, the key first; return what was there.

        Raises:
            FileError: a file can't be deleted.
        """
        gone = tuple(name for name in (*NAMES, *TLS_NAMES) if self._disk.remove(self.folder / name))
        return gone + self._disk.sweep(self.folder)

    def _certified(self, credentials: Credentials) -> None:
        if credentials.transport:
            self._write(TLS_CERTIFICATE, credentials.transport)
        self._write(CERTIFICATE, credentials.certificate)

    def _write(self, name: str, data: bytes) -> None:
        self._disk.write_atomic(self._disk.make_folder(self.folder) / name, data)


def read_root(path: Path, disk: Disk = DISK) -> bytes:
    """Return a public key of 32 bytes that a file holds as 64 hexadecimal characters.

    Raises:
        FileError: the file can't be read or holds something else.
    """
    text = disk.read_limited(path, 256).decode("ascii", "replace").strip()
    try:
        root = bytes.fromhex(text)
    except ValueError:
        root = b""
    if len(root) != 32:
        raise FileError(f"{path} does not hold a public key of 64 hexadecimal characters: get it from the fleet again")
    return root
