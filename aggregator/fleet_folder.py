"""A fleet's keys and documents as files: `--dev` keeps all of them in one folder, each secret alone with mode 0600.

keys/{root,enrolment,aggregator,publisher}   32 secret bytes each
roles, revocations, checkpoint               signed documents
root.pub                                     the fleet root's public key, hexadecimal
devices/ID/{identity,password,certificate}   what one device needs beside the public files
passwords/aggregator                         the aggregator's own at the broker
"""

from dataclasses import dataclass, field
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.files import make_folder, read_limited, read_secret, write_atomic
from accord.ids import AGGREGATOR, checked_device
from accord.signing import SigningKey
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles, opened
from aggregator.coordinator_values import Office
from aggregator.enrolment import new_fleet

KEYS = ("root", "enrolment", "aggregator", "publisher")
PUBLIC = 0o644
LARGEST = 1 << 20  # bytes of a document
_PASSWORD = 24  # random bytes, written as hexadecimal


@dataclass(frozen=True, kw_only=True)
class FleetFolder:
    """The places of a fleet's files."""

    path: Path

    @property
    def devices(self) -> tuple[str, ...]:
        """The ids of the devices that were enrolled here, in order."""
        return tuple(sorted(folder.name for folder in (self.path / "devices").iterdir()))

    def device(self, name: str) -> Path:
        """The folder of one device."""
        return self.path / "devices" / checked_device(name)

    def publisher(self) -> SigningKey:
        """The key that signs bundles; never needed by the aggregator's process."""
        return SigningKey(read_secret(self.path / "keys" / "publisher", 32))

    def passwords(self) -> dict[str, str]:
        """Every client's password at the broker, for whoever sets the broker up."""
        found = {name: read_limited(self.device(name) / "password", 256).decode() for name in self.devices}
        return found | {AGGREGATOR: read_limited(self.path / "passwords" / AGGREGATOR, 256).decode()}

    def office(self) -> Office:
        """The aggregator's own key and the documents that it hands on.

        Raises:
            FileError: a file is missing, or a secret is readable by others.
        """
        roles_data = read_limited(self.path / "roles", LARGEST)
        roles = opened(Envelope.decode(roles_data), Roles)
        return Office(
            tenant=roles.tenant,
            key=SigningKey(read_secret(self.path / "keys" / "aggregator", 32)),
            roles=roles_data,
            roles_version=roles.version,
            enrolment=roles.enrolment,
            revocations=read_limited(self.path / "revocations", LARGEST),
            checkpoint=read_limited(self.path / "checkpoint", LARGEST),
        )


@dataclass(frozen=True, kw_only=True)
class NewFleet:
    """What `create` makes: a tenant's name, its devices, and when all of it ends (wall time in seconds)."""

    tenant: str
    devices: tuple[str, ...]
    expires: int
    note: str = field(default="root and publisher lie beside the aggregator's key: for development only")


def create(path: Path, fleet: NewFleet, entropy: Entropy) -> FleetFolder:
    """Make a fleet for development: every key in one folder.

    Raises:
        UsageError: the folder holds a fleet already, or a device is named twice.
        FileError: a file can't be written.
    """
    if (path / "keys").exists():
        raise UsageError(f"{path} holds a fleet already: choose another folder, or remove it")
    if len(set(fleet.devices)) != len(fleet.devices) or not fleet.devices:
        raise UsageError("a fleet needs at least one device, each with an id of its own")
    drawn = new_fleet(fleet.tenant, entropy, fleet.expires)
    keys = make_folder(path / "keys")
    for name in KEYS:
        key: SigningKey = getattr(drawn, name)
        write_atomic(keys / name, key.seed)
    write_atomic(path / "roles", drawn.roles(), PUBLIC)
    write_atomic(path / "revocations", drawn.revocations(), PUBLIC)
    write_atomic(path / "checkpoint", drawn.checkpoint(), PUBLIC)
    write_atomic(path / "root.pub", drawn.root.public.hex().encode(), PUBLIC)
    write_atomic(make_folder(path / "passwords") / AGGREGATOR, entropy(_PASSWORD).hex().encode())
    for serial, name in enumerate(fleet.devices, 1):
        folder = make_folder(path / "devices" / checked_device(name))
        identity = SigningKey(entropy(32))
        write_atomic(folder / "identity", identity.seed)
        write_atomic(folder / "password", entropy(_PASSWORD).hex().encode())
        write_atomic(folder / "certificate", drawn.certificate(name, identity.public, serial), PUBLIC)
    return FleetFolder(path=path)
