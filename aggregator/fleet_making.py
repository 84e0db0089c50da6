"""Makes a fleet: its keys and documents, in one folder for development or in one for each role."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.files import make_folder, write_atomic
from accord.ids import AGGREGATOR, checked_device
from accord.signing import SigningKey
from aggregator.enrolment import Fleet, new_fleet
from aggregator.enrolment_ledger import EnrolmentLedger, Issued
from aggregator.fleet_folder import (
    CHECKPOINT,
    KEY,
    KEYS,
    PASSWORD,
    PUBLIC,
    REVOCATIONS,
    ROLES,
    ROOT,
    TLS_CERTIFICATE,
    TLS_KEY,
    FleetFolder,
)
from aggregator.tls_folder import LOCAL
from aggregator.transport_ca import FOLDER as TRANSPORT
from aggregator.transport_ca import TransportCA


@dataclass(frozen=True, kw_only=True)
class NewFleet:
    """What `create` makes: a tenant's name, its devices, the time now and when all ends (wall time in seconds)."""

    tenant: str
    devices: tuple[str, ...]
    now: int
    expires: int
    names: tuple[str, ...] = LOCAL  # under which the broker is reached
    note: str = field(default="root and publisher lie beside the aggregator's key: for development only")


def create(path: Path, fleet: NewFleet, entropy: Entropy) -> FleetFolder:
    """Make a fleet for development: every key in one folder.

    Raises:
        UsageError: the folder holds a fleet already, or a device is named twice.
        FileError: a file can't be written.
    """
    _unused(path)
    if len(set(fleet.devices)) != len(fleet.devices) or not fleet.devices:
        raise UsageError("a fleet needs at least one device, each with an id of its own")
    drawn = new_fleet(fleet.tenant, entropy, fleet.expires)
    keys = make_folder(path / "keys")
    for name in KEYS:
        key: SigningKey = getattr(drawn, name)
        write_atomic(keys / name, key.seed)
    _write_documents(path, drawn, ROOT, ROLES, REVOCATIONS, CHECKPOINT)
    write_atomic(make_folder(path / "passwords") / AGGREGATOR, entropy(PASSWORD).hex().encode())
    transport = TransportCA.create(
        path / TRANSPORT, fleet.tenant, fleet.expires, entropy.child("transport"), now=fleet.now
    )
    FleetFolder(path=path).tls.write(transport, fleet.names, fleet.expires)
    ledger = EnrolmentLedger(path)
    ledger.start_at(len(fleet.devices))
    for serial, name in enumerate(fleet.devices, 1):
        folder = make_folder(path / "devices" / checked_device(name))
        identity = SigningKey(entropy(32))
        write_atomic(folder / "identity", identity.seed)
        write_atomic(folder / "password", entropy(PASSWORD).hex().encode())
        certificate = drawn.certificate(name, identity.public, serial)
        write_atomic(folder / "certificate", certificate, PUBLIC)
        pair = transport.client(name, fleet.expires, serial)
        write_atomic(folder / TLS_KEY, pair.key)
        write_atomic(folder / TLS_CERTIFICATE, pair.certificate, PUBLIC)
        issued = Issued(
            serial=serial,
            expires=fleet.expires,
            identity=identity.public,
            request=b"",
            certificate=certificate,
        )
        ledger.put(replace(ledger.entry(name), issued=(issued,)))
    return FleetFolder(path=path)


def create_in_parts(
    path: Path, tenant: str, expires: int, entropy: Entropy, names: Sequence[str] = LOCAL, *, now: int
) -> FleetFolder:
    """Make a fleet without devices: one folder for each role, none of which needs another.

    Args:
        path: an empty or missing folder.
        tenant: its name.
        expires: when all of it ends, wall time in seconds.
        entropy: keys are drawn from it.
        names: host names and addresses under which the broker is reached.
        now: wall time in seconds.

    Raises:
        UsageError: the folder holds a fleet already.
        FileError: a file can't be written.
    """
    _unused(path)
    drawn = new_fleet(tenant, entropy, expires)
    for name in KEYS:
        key: SigningKey = getattr(drawn, name)
        write_atomic(make_folder(path / name) / KEY, key.seed)
    write_atomic(path / AGGREGATOR / "password", entropy(PASSWORD).hex().encode())
    _write_documents(path / "root", drawn, ROOT, ROLES)
    _write_documents(path / "enrolment", drawn, ROOT, ROLES, REVOCATIONS)
    _write_documents(path / AGGREGATOR, drawn, ROOT, ROLES, REVOCATIONS, CHECKPOINT)
    transport = TransportCA.create(path / TRANSPORT, tenant, expires, entropy.child("transport"), now=now)
    FleetFolder(path=path).tls.write(transport, names, expires)
    return FleetFolder(path=path)


def _unused(path: Path) -> None:
    if (path / "keys").exists() or (path / "root").exists():
        raise UsageError(f"{path} holds a fleet already: choose another folder, or remove it")


def _write_documents(folder: Path, drawn: Fleet, *names: str) -> None:
    documents = {
        ROOT: lambda: drawn.root.public.hex().encode(),
        ROLES: drawn.roles,
        REVOCATIONS: drawn.revocations,
        CHECKPOINT: drawn.checkpoint,
    }
    for name in names:
        write_atomic(folder / name, documents[name](), PUBLIC)
