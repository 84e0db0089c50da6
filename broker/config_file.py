"""Reads a broker's TOML file, whose unknown keys are refused; what the values mean is in `broker.config`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomllib

from accord.errors import UsageError
from accord.files import read_limited
from broker.config import BrokerConfig, Limits, Listener, Tls

LARGEST = 65_536  # bytes of a configuration file
_KINDS = {str: "a string", int: "an integer", bool: "true or false", float: "a number"}
_BROKER: dict[str, tuple[type, Any]] = {"state": (str, None), "tenant": (str, "fleet")}
_LISTENER: dict[str, tuple[type, Any]] = {
    "host": (str, "127.0.0.1"),
    "port": (int, None),
    "certificate": (str, ""),
    "key": (str, ""),
    "clients": (str, ""),
    "revoked": (str, ""),
    "websocket": (bool, False),
    "insecure": (bool, False),
}


def load(path: Path) -> BrokerConfig:
    """Read a broker's configuration; its paths are relative to the file's own folder.

    Raises:
        UsageError: it is not TOML, or a key is unknown, missing or of the wrong type; the message names it.
        FileError: it can't be read.
    """
    try:
        found = tomllib.loads(read_limited(path, LARGEST).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    for name in found:
        if name not in ("broker", "listener", "limits"):
            raise UsageError(f"{path}: {name} is unknown; use [broker], [[listener]] and [limits]")
    folder = path.resolve().parent
    broker = _values(found.get("broker", {}), _BROKER, f"{path}: [broker]")
    rows = found.get("listener", [])
    if not isinstance(rows, list):
        raise UsageError(f"{path}: write [[listener]], in two brackets: there may be several")
    listeners = tuple(
        _listener(_values(row, _LISTENER, f"{path}: [[listener]] {number}"), folder, f"{path}: [[listener]] {number}")
        for number, row in enumerate(rows, 1)
    )
    usual = asdict(Limits())
    shape = {name: (type(value), value) for name, value in usual.items()}
    limits = Limits(**_values(found.get("limits", {}), shape, f"{path}: [limits]"))
    return BrokerConfig(state=folder / broker["state"], tenant=broker["tenant"], listeners=listeners, limits=limits)


def _listener(values: Mapping[str, Any], folder: Path, where: str) -> Listener:
    certificate, key, clients = values["certificate"], values["key"], values["clients"]
    if bool(certificate) != bool(key) or (clients and not certificate):
        raise UsageError(f"{where}: certificate and key come together, and clients with them")
    tls = None
    if certificate:
        paths = {name: folder / values[name] for name in ("clients", "revoked") if values[name]}
        try:
            tls = Tls(certificate=folder / certificate, key=folder / key, **paths)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
    rest = {name: values[name] for name in ("host", "port", "websocket", "insecure")}
    try:
        return Listener(tls=tls, **rest)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _values(found: Any, shape: Mapping[str, tuple[type, Any]], where: str) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise UsageError(f"{where} is not a table")
    for key in found:
        if key not in shape:
            raise UsageError(f"{where} {key} is unknown; use {', '.join(shape)}")
    values = {}
    for key, (kind, default) in shape.items():
        value = found.get(key, default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise UsageError(f"{where} {key} is {'missing' if value is None else f'not {_KINDS[kind]}'}")
        values[key] = value
    return values
