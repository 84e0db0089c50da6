"""A device's configuration: one TOML file, every limit with its unit, unknown keys refused by name."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.errors import UsageError
from accord.files import read_limited
from accord.ids import checked_device, checked_name
from edge_sdk.session_values import Limits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 65_536  # bytes of a configuration file


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
    bundle: Path
    data: Path  # .npz with x_train, y_train, x_test, y_test
    limits: Limits
    heartbeat: float = 30.0  # seconds

    def __post_init__(self) -> None:
        checked_device(self.device)
        checked_name(self.tenant, "tenant")
        checked_name(self.job, "job")
        if not 0 < self.port < 65_536:
            raise UsageError(f"[broker] port {self.port} is not from 1 to 65535")


_SHAPE: Mapping[str, tuple[str, ...]] = {
    "device": ("id", "tenant", "job", "state", "heartbeat"),
    "trust": ("identity", "certificate", "roles", "root"),
    "broker": ("host", "port", "password"),
    "work": ("bundle", "data"),
    "limits": ("smallest_cohort", "max_attempts", "allow_unmasked", "max_epochs"),
}
_OPTIONAL = {"heartbeat", *_SHAPE["limits"]}


def load(path: Path) -> DeviceConfig:
    """Read a device's configuration.

    Raises:
        UsageError: it is not TOML, or a key is unknown, missing or of the wrong type; the message names it.
    """
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
    folder = path.resolve().parent

    def value(table: str, key: str, kind: type) -> Any:
        item = found.get(table, {}).get(key)
        if type(item) is not kind:
            raise UsageError(f"{path}: [{table}] {key} is missing or not a {kind.__name__}")
        return item

    def file(table: str, key: str) -> Path:
        return folder / str(value(table, key, str))

    try:
        limits = Limits(**found.get("limits", {}))
    except TypeError as error:
        raise UsageError(f"{path}: [limits] {error}") from error
    return DeviceConfig(
        device=value("device", "id", str),
        tenant=value("device", "tenant", str),
        job=value("device", "job", str),
        state=file("device", "state"),
        identity=file("trust", "identity"),
        certificate=file("trust", "certificate"),
        roles=file("trust", "roles"),
        root=file("trust", "root"),
        host=value("broker", "host", str),
        port=value("broker", "port", int),
        password=file("broker", "password"),
        bundle=file("work", "bundle"),
        data=file("work", "data"),
        limits=limits,
        heartbeat=float(found.get("device", {}).get("heartbeat", 30.0)),
    )
