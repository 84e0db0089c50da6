"""What an aggregator process is told, read from a TOML file whose unknown keys are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomllib

from accord.errors import UsageError
from accord.files import read_limited
from accord.link.places import Place, places
from accord.link.session import Session, checked_session, speakable
from accord.link.tls import Tls
from aggregator.job_config import SHAPE, JobConfig, Shape, from_tables, tables
from aggregator.tls_folder import TlsFolder

LARGEST = 65_536  # bytes of a configuration file
SECURE_PORT, PLAIN_PORT = 8_883, 1_883
"""The ports that are registered for MQTT with TLS and without."""


@dataclass(frozen=True, kw_only=True)
class AggregatorConfig:
    """Where the fleet, the broker and the database are; paths are relative to the file's own folder.

    `tls` is a folder such as `accord fleet tls` makes; None means that of the fleet. With a `mutual_port`, the
    aggregator connects there, by its certificate; with `insecure` it talks plain MQTT; `server_name` is the name in the
    broker's certificate, if that is not `host`. `database` is a URL; empty means SQLite in the state folder. `job` is
    started unless the store has one of its name, and the process then ends with it.
    """

    fleet: Path
    state: Path
    host: str
    port: int
    session: Session = "plain"
    others: tuple[Place, ...] = ()
    database: str = ""
    job: JobConfig | None = None
    insecure: bool = False
    mutual_port: int | None = None
    server_name: str = ""
    tls: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536 or not 0 <= (self.mutual_port or 0) < 65_536:
            raise UsageError("[broker] port and mutual_port are from 0 to 65535")
        if self.insecure and (self.tls is not None or self.mutual_port is not None):
            raise UsageError("insecure is plain MQTT: it goes with no tls and no mutual_port in [broker]")
        if self.job is not None:
            speakable(self.job.name, "job", self.session)

    def secured(self, kept: TlsFolder) -> Tls | None:
        """Return whom the aggregator trusts at its broker; None for plain MQTT.

        Args:
            kept: the TLS files of the fleet's folder, which are used unless `tls` names others.

        Raises:
            UsageError: there are none, and nobody said that the broker has no TLS.
            FileError: a file can't be read, or the key is readable by others.
        """
        if self.insecure:
            return None
        folder = kept if self.tls is None else TlsFolder(path=self.tls)
        if not folder.whole:
            raise UsageError(
                f"{folder.path} lacks files for TLS: `accord fleet tls --out {folder.path}` makes them where the "
                "transport CA lies. For plain MQTT say insecure, but then everybody on the network between can read "
                "the passwords"
            )
        return folder.trusted(self.server_name)


_SHAPE: Shape = {
    "aggregator": {"fleet": (str, None), "state": (str, None), "database": (str, "")},
    "broker": {
        "host": (str, "127.0.0.1"),
        "port": (int, SECURE_PORT),
        "session": (str, "plain"),
        "others": (list, []),
        "insecure": (bool, False),
        "mutual_port": (int, 0),
        "server_name": (str, ""),
        "tls": (str, ""),
    },
}


def load(path: Path) -> AggregatorConfig:
    """Read an aggregator's configuration.

    Raises:
        UsageError: it is not TOML, or a key is unknown, missing or of the wrong type; the message names it.
    """
    found = read_toml(path)
    known = {**_SHAPE, **SHAPE}
    for table in found:
        if table not in known:
            raise UsageError(f"{path}: [{table}] is unknown; the tables are {', '.join(known)}")
    values = tables(found, _SHAPE, str(path))
    folder = path.resolve().parent
    return AggregatorConfig(
        fleet=folder / values["aggregator"]["fleet"],
        state=folder / values["aggregator"]["state"],
        database=values["aggregator"]["database"],
        host=values["broker"]["host"],
        port=values["broker"]["port"],
        session=checked_session(values["broker"]["session"]),
        others=places(values["broker"]["others"]),
        insecure=values["broker"]["insecure"],
        mutual_port=values["broker"]["mutual_port"] or None,
        server_name=values["broker"]["server_name"],
        tls=folder / values["broker"]["tls"] if values["broker"]["tls"] else None,
        job=load_job(path) if any(table in found for table in SHAPE) else None,
    )


def load_job(path: Path) -> JobConfig:
    """Read the tables of a job from a file; the bundle's path is relative to the file's own folder.

    Raises:
        UsageError: as for `load`.
    """
    config = from_tables(read_toml(path), str(path))
    return replace(config, bundle=str(path.resolve().parent / config.bundle))


def read_toml(path: Path) -> Mapping[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        UsageError: it is not TOML.
        FileError: it can't be read.
    """
    try:
        return tomllib.loads(read_limited(path, LARGEST).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
