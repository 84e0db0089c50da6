"""Jobs: what was asked for, how far each came, and the bytes from which it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select, update

from accord.errors import UsageError
from accord.ids import checked_name
from aggregator.schema import JOBS
from aggregator.tables import documents
from aggregator.tables.upsert import inserted

STATUSES = ("waiting", "running", "stopped", "done", "failed")


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job: `created` is wall time in seconds, `round` the last one that closed, `error` why it failed."""

    name: str
    created: float
    status: str
    config: Mapping[str, Any]
    state: bytes | None = field(repr=False)
    round: int
    error: str


def add(connection: Connection, name: str, config: Mapping[str, Any], created: float) -> None:
    """Note a new job, in status `waiting`.

    Raises:
        CodecError: the name can't stand in a topic.
        UsageError: there is a job of that name.
    """
    row = {
        "name": checked_name(name, "job"),
        "created": created,
        "status": "waiting",
        "config": documents.written(config),
        "state": None,
        "round": 0,
        "error": "",
    }
    if not inserted(connection, JOBS, row):
        raise UsageError(f"there is a job {name!r} already: resume it, or choose another name")


def get(connection: Connection, name: str) -> JobRow:
    """Return one job.

    Raises:
        UsageError: there is none of that name.
    """
    row = connection.execute(select(JOBS).where(JOBS.c.name == name)).one_or_none()
    if row is None:
        raise _unknown(name)
    return _job(row)


def locked(connection: Connection, name: str) -> JobRow:
    """Return one job, which nobody else changes until this transaction ends.

    Raises:
        UsageError: there is none of that name.
    """
    row = connection.execute(select(JOBS).where(JOBS.c.name == name).with_for_update()).one_or_none()
    if row is None:
        raise _unknown(name)
    return _job(row)


def every(connection: Connection) -> tuple[JobRow, ...]:
    """Return all jobs, oldest first."""
    return tuple(_job(row) for row in connection.execute(select(JOBS).order_by(JOBS.c.created, JOBS.c.name)))


def checkpoint(connection: Connection, name: str, *, state: bytes, closed: int) -> None:
    """Keep the bytes from which the job goes on, and the number of its last closed round.

    Raises:
        UsageError: there is no job of that name.
    """
    _changed(connection, name, {"state": state, "round": closed})


def set_status(connection: Connection, name: str, status: str, error: str = "") -> None:
    """Note where the job stands: one of `STATUSES`, with the reason if it failed.

    Raises:
        UsageError: the status is unknown, or there is no job of that name.
    """
    if status not in STATUSES:
        raise UsageError(f"a job is {', '.join(STATUSES)}, not {status!r}")
    _changed(connection, name, {"status": status, "error": error})


def _changed(connection: Connection, name: str, values: Mapping[str, Any]) -> None:
    if not connection.execute(update(JOBS).where(JOBS.c.name == name).values(**values)).rowcount:
        raise _unknown(name)


def _unknown(name: str) -> UsageError:
    return UsageError(f"there is no job {name!r}: `accord job list` shows those that are")


def _job(row: Row[Any]) -> JobRow:
    return JobRow(**{**row._mapping, "config": documents.read(row.config)})  # noqa: SLF001 - SQLAlchemy's public name
