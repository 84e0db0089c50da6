"""A device's configuration: one TOML file, every limit with its unit, unknown keys refused by name."""

import sys
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, TypeVar

from accord.errors import UsageError
from accord.files import read_limited
from accord.ids import checked_device, checked_name
from accord.link.places import places
from accord.link.session import checked_session, speakable
from accord.values import dataclass
from edge_sdk.bounds import Bounds
from edge_sdk.constraints import Constraints
from edge_sdk.keystore import CA, CERTIFICATE, IDENTITY, KEYS, PASSWORD, ROLES, ROOT, TLS_CERTIFICATE, TLS_KEY
from edge_sdk.reach import Reach
from edge_sdk.session_values import Limits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 65_536  # bytes of a configuration file
LONGEST = 86_400  # seconds between heartbeats, or between two looks at the constraints
_KINDS: Mapping[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
EXAMPLES, CLOCK = "examples", "clock"

_PATHS = ("ca", "tls_certificate", "tls_key", "proxy_login")
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
    reach: Reach
    password: Path  # of the broker, mode 0600
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
        for what in ("device", "tenant", "job"):
            speakable(getattr(self, what), what, checked_session(self.reach.session))
        if not (self.heartbeat > 0 and self.poll >= 0):
            raise UsageError("[device] heartbeat and poll are seconds: more than 0, and 0 or more")

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
    "broker": ("password", *(f.name for f in fields(Reach))),
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
        reach=_reach(path, found, state / KEYS),
        password=file("broker", "password", PASSWORD),
        bundle=file("work", "bundle"),
        data=file("work", "data") if "data" in found.get("work", {}) else None,
        limits=_built(path, "limits", Limits, found),
        constraints=_built(path, "constraints", Constraints, found),
        examples=_built(path, "examples", Bounds, found),
        heartbeat=seconds("heartbeat", 30.0),
        poll=seconds("poll", 1.0),
    )


def _reach(path: Path, found: Mapping[str, Any], keys: Path) -> Reach:
    """Return how the broker is reached; what TLS needs lies in the keystore unless another place is named."""
    table = {name: item for name, item in found.get("broker", {}).items() if name != "password"}
    kinds = {"port": int, "mutual_port": int, "insecure": bool}
    for name in ("host", "port", *(name for name in table if name != "others")):
        kind, item = kinds.get(name, str), table.get(name)
        if type(item) is not kind:
            raise UsageError(f"{path}: [broker] {name} is {'missing' if item is None else f'not {_KINDS[kind]}'}")
    folder = path.resolve().parent
    given = {name: folder / table.pop(name) for name in _PATHS if name in table}
    nodes = {"others": places(others)} if (others := table.pop("others", None)) is not None else {}
    kept: dict[str, Path] = {}
    if not table.get("insecure"):
        kept = {"ca": keys / CA}
        if "tls_certificate" not in given and "tls_key" not in given:
            kept |= {"tls_certificate": keys / TLS_CERTIFICATE, "tls_key": keys / TLS_KEY}
    try:
        return Reach(**(table | kept | given | nodes))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


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
