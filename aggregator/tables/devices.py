"""Devices as the aggregator knows them: enrolment, standing, presence, and what they have carried."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select, update

from accord.errors import UsageError
from accord.ids import checked_device
from aggregator.schema import DEVICES
from aggregator.standing import Standing
from aggregator.tables.upsert import upsert

STATUSES = ("enrolled", "barred", "revoked")
LARGEST = 2**63 - 1
"""What a device says of itself is a hint: a number beyond the database's is as good as its largest."""


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """One device: times are wall time in seconds, `birth` is of the connection that was seen last.

    `identity` is empty until it checked in; `sequence` and `newest_birth` are the highest that it said with that key,
    and `reason` is why it is barred.
    """

    name: str
    tenant: str
    serial: int
    status: str
    first_seen: float
    last_seen: float
    online: bool
    birth: int
    rounds: int
    bytes_up: int
    bytes_down: int
    identity: bytes = field(repr=False)
    sequence: int
    newest_birth: int
    reason: str


def enrolled(connection: Connection, name: str, *, tenant: str, serial: int, time: float) -> None:
    """Note a certificate; enrolled again, as after a wiped card, the device is no longer barred or revoked.

    Raises:
        CodecError: the id can't be a device's.
    """
    row = _fresh(name, tenant=tenant, serial=serial, time=time)
    upsert(connection, DEVICES, row, changes=["tenant", "serial", "status", "reason"])


def stood(connection: Connection, name: str, standing: Standing, *, tenant: str, time: float) -> None:
    """Keep where a device stands after a signed check-in.

    Raises:
        CodecError: the id can't be a device's.
    """
    row = _fresh(name, tenant=tenant, serial=standing.serial, time=time) | {
        "status": "barred" if standing.barred else "enrolled",
        "identity": standing.identity,
        "sequence": standing.sequence,
        "newest_birth": standing.birth,
        "reason": standing.barred,
    }
    changes = ["serial", "status", "identity", "sequence", "newest_birth", "reason"]
    upsert(connection, DEVICES, row, changes=changes)


def standing(connection: Connection, name: str) -> Standing | None:
    """Return where a device stands; None if it never checked in."""
    row = get(connection, name)
    if row is None or not row.identity:
        return None
    return Standing(
        serial=row.serial,
        identity=row.identity,
        sequence=row.sequence,
        birth=row.newest_birth,
        barred=row.reason,
    )


def revoked(connection: Connection, serials: frozenset[int]) -> tuple[str, ...]:
    """Note whose newest certificate is on the revocation list, and return their names."""
    rows = connection.execute(select(DEVICES.c.name, DEVICES.c.serial).where(DEVICES.c.status != "revoked"))
    names = tuple(name for name, serial in rows if serial in serials)
    for name in names:
        set_status(connection, name, "revoked")
    return names


def _fresh(name: str, *, tenant: str, serial: int, time: float) -> dict[str, Any]:
    return {
        "name": checked_device(name),
        "tenant": tenant,
        "serial": serial,
        "status": "enrolled",
        "first_seen": time,
        "last_seen": 0.0,
        "online": False,
        "birth": 0,
        "rounds": 0,
        "bytes_up": 0,
        "bytes_down": 0,
        "identity": b"",
        "sequence": 0,
        "newest_birth": 0,
        "reason": "",
    }


def seen(connection: Connection, name: str, *, online: bool, birth: int, time: float) -> bool:
    """Note a birth, or the last will of the connection with this birth.

    Returns:
        Whether it changed anything: a will of an older connection doesn't, nor does a device that is not enrolled.
    """
    birth = min(birth, LARGEST)
    stands = DEVICES.c.birth <= birth if online else DEVICES.c.birth == birth
    values = {"online": online, "birth": birth, "last_seen": time}
    return bool(connection.execute(update(DEVICES).where(DEVICES.c.name == name, stands).values(**values)).rowcount)


def nobody_online(connection: Connection) -> None:
    """Forget who is online, as after a restart: retained births tell it anew."""
    connection.execute(update(DEVICES).values(online=False))


def carried(connection: Connection, name: str, *, rounds: int = 0, up: int = 0, down: int = 0) -> None:
    """Add to what a device has taken part in, and to the bytes that it has sent and received."""
    added = {"rounds": rounds, "bytes_up": up, "bytes_down": down}
    values = {column: DEVICES.c[column] + min(number, 2**48) for column, number in added.items()}
    connection.execute(update(DEVICES).where(DEVICES.c.name == name).values(**values))


def set_status(connection: Connection, name: str, status: str) -> None:
    """Note that a device is one of `STATUSES`.

    Raises:
        UsageError: the status is unknown, or no such device was enrolled.
    """
    if status not in STATUSES:
        raise UsageError(f"a device is {', '.join(STATUSES)}, not {status!r}")
    if not connection.execute(update(DEVICES).where(DEVICES.c.name == name).values(status=status)).rowcount:
        raise UsageError(f"no device {name!r} was enrolled: `accord device list` shows those that were")


def get(connection: Connection, name: str) -> DeviceRow | None:
    """Return one device, or None if it was never enrolled."""
    row = connection.execute(select(DEVICES).where(DEVICES.c.name == name)).one_or_none()
    return None if row is None else _device(row)


def every(connection: Connection) -> tuple[DeviceRow, ...]:
    """Return all devices, by name."""
    return tuple(_device(row) for row in connection.execute(select(DEVICES).order_by(DEVICES.c.name)))


def _device(row: Row[Any]) -> DeviceRow:
    return DeviceRow(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
