"""What an aggregator process is told, read from a TOML file whose unknown keys are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomllib

from accord.errors import UsageError
from accord.files import read_limited
from accord.link.places import Place, places
from accord.link.session import Session, checked_session
from aggregator.job_config import SHAPE, JobConfig, Shape, from_tables, tables

LARGEST = 65_536  # bytes of a configuration file


@dataclass(frozen=True, kw_only=True)
class AggregatorConfig:
    """Where the fleet, the broker and the database are; paths are relative to the file's own folder.

    `database` is a URL; empty means SQLite in the state folder. `job` is started unless the store has one of its name,
    and the process then ends with it.
    """

    fleet: Path
    state: Path
    host: str
    port: int
    session: Session = "plain"
    others: tuple[Place, ...] = ()
    database: str = ""
    job: JobConfig | None = None


_SHAPE: Shape = {
    "aggregator": {"fleet": (str, None), "state": (str, None), "database": (str, "")},
    "broker": {"host": (str, "127.0.0.1"), "port": (int, 1883), "session": (str, "plain"), "others": (list, [])},
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
