"""A device's configuration: one TOML file, every limit with its unit, unknown keys refused by name."""

import sys
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, TypeVar

from accord.errors import UsageError
from accord.files import read_limited
from accord.ids import checked_device, checked_name
from accord.link.address import Address
from accord.link.places import Place, places
from accord.link.session import Session, checked_session
from accord.values import dataclass
from edge_sdk.bounds import Bounds
from edge_sdk.constraints import Constraints
from edge_sdk.keystore import CERTIFICATE, IDENTITY, KEYS, PASSWORD, ROLES, ROOT
from edge_sdk.session_values import Limits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 65_536  # bytes of a configuration file
LONGEST = 86_400  # seconds between heartbeats, or between two looks at the constraints
_KINDS: Mapping[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
EXAMPLES, CLOCK = "examples", "clock"

_Table = TypeVar("_Table", Limits, Constraints, Bounds)


@dataclass(frozen=True, kw_only=True)
class DeviceConfig:
    """Where a device finds what it needs; paths are relative to the file's own folder."""

    device: str
    tenant: str
    job: str
    state: Path  # the only folder that is written to
    identity: Path  # 32-byte key file, mode 0600
    certificate: Path
    roles: Path
    root: Path  # the fleet root's public key, 64 hexadecimal characters
    host: str
    port: int
    password: Path  # of the broker, mode 0600
    session: Session
    others: tuple[Place, ...]  # further nodes of the same broker
    bundle: Path
    limits: Limits
    data: Path | None = None  # .npz with x_train, y_train, x_test, y_test; without it the example store is used
    constraints: Constraints = field(default_factory=Constraints)
    examples: Bounds = field(default_factory=Bounds)
    heartbeat: float = 30.0  # seconds
    poll: float = 1.0  # seconds between two looks at the constraints

    def __post_init__(self) -> None:
        checked_device(self.device)
        checked_name(self.tenant, "tenant")
        checked_name(self.job, "job")
        if not 0 < self.port < 65_536:
            raise UsageError(f"[broker] port {self.port} is not from 1 to 65535")
        if not (self.heartbeat > 0 and self.poll >= 0):
            raise UsageError("[device] heartbeat and poll are seconds: more than 0, and 0 or more")

    def address(self, password: str) -> Address:
        """Return where the broker is, and our login there."""
        return Address(
            host=self.host,
            port=self.port,
            client_id=self.device,
            password=password,
            session=self.session,
            others=self.others,
        )

    @property
    def keys(self) -> Path:
        """The keystore's folder."""
        return self.state / KEYS

    @property
    def store(self) -> Path:
        """The example store's folder."""
        return self.state / EXAMPLES

    @property
    def clock(self) -> Path:
        """The file in which the time is remembered."""
        return self.state / CLOCK


_SHAPE: Mapping[str, tuple[str, ...]] = {
    "device": ("id", "tenant", "job", "state", "heartbeat", "poll"),
    "trust": ("identity", "certificate", "roles", "root"),
    "broker": ("host", "port", "password", "session", "others"),
    "work": ("bundle", "data"),
    "limits": tuple(f.name for f in fields(Limits)),
    "constraints": tuple(f.name for f in fields(Constraints)),
    "examples": tuple(f.name for f in fields(Bounds)),
}


def load(path: Path) -> DeviceConfig:
    """Read a device's configuration.

    Raises:
        UsageError: it is not TOML, or a key is unknown, missing or of the wrong type; the message names it.
    """
    found = _tables(path)
    folder = path.resolve().parent

    def value(table: str, key: str, kind: type) -> Any:
        item = found.get(table, {}).get(key)
        if type(item) is not kind:
            raise UsageError(f"{path}: [{table}] {key} is {'missing' if item is None else f'not {_KINDS[kind]}'}")
        return item

    def seconds(key: str, default: float) -> float:
        item = found.get("device", {}).get(key, default)
        if type(item) not in (int, float) or not 0 <= item <= LONGEST:
            raise UsageError(f"{path}: [device] {key} is not a number of seconds from 0 to {LONGEST}")
        return float(item)

    state = folder / str(value("device", "state", str))

    def file(table: str, key: str, kept: str = "") -> Path:
        """Return a path; what is kept in the keystore lies there unless another place is named."""
        if kept and key not in found.get(table, {}):
            return state / KEYS / kept
        return folder / str(value(table, key, str))

    return DeviceConfig(
        device=value("device", "id", str),
        tenant=value("device", "tenant", str),
        job=value("device", "job", str),
        state=state,
        identity=file("trust", "identity", IDENTITY),
        certificate=file("trust", "certificate", CERTIFICATE),
        roles=file("trust", "roles", ROLES),
        root=file("trust", "root", ROOT),
        host=value("broker", "host", str),
        port=value("broker", "port", int),
        password=file("broker", "password", PASSWORD),
        session=checked_session(str(found["broker"].get("session", "plain"))),
        others=places(found["broker"].get("others", [])),
        bundle=file("work", "bundle"),
        data=file("work", "data") if "data" in found.get("work", {}) else None,
        limits=_built(path, "limits", Limits, found),
        constraints=_built(path, "constraints", Constraints, found),
        examples=_built(path, "examples", Bounds, found),
        heartbeat=seconds("heartbeat", 30.0),
        poll=seconds("poll", 1.0),
    )


def _built(path: Path, table: str, kind: type[_Table], found: Mapping[str, Any]) -> _Table:
    """Build one table's value; what it refuses is told with the table's name."""
    usual = kind()
    for key, item in found.get(table, {}).items():
        wanted = type(getattr(usual, key))
        if wanted in _KINDS and type(item) is not wanted and not (wanted is float and type(item) is int):
            raise UsageError(f"{path}: [{table}] {key} is not {_KINDS[wanted]}")
    try:
        return kind(**found.get(table, {}))
    except (TypeError, UsageError) as error:
        raise UsageError(f"{path}: [{table}] {error}") from error


def _tables(path: Path) -> dict[str, Any]:
    """Read the file's tables, whose names and keys are known."""
    try:
        found = tomllib.loads(read_limited(path, LARGEST).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    for table, keys in found.items():
        if table not in _SHAPE or not isinstance(keys, dict):
            raise UsageError(f"{path}: [{table}] is unknown; the tables are {', '.join(_SHAPE)}")
        for key in keys:
            if key not in _SHAPE[table]:
                raise UsageError(f"{path}: [{table}] {key} is unknown; use {', '.join(_SHAPE[table])}")
    return found
