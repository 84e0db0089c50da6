"""Log lines of jobs, in the order in which they were written, for `accord job logs -f`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from aggregator.schema import LINES
from aggregator.tables import documents

AT_ONCE = 1_000


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line; `id` grows, so a reader asks for those after the last that it saw. `time` is wall time in seconds."""

    id: int
    job: str
    time: float
    record: Mapping[str, Any]


def append(connection: Connection, job: str, time: float, record: Mapping[str, Any]) -> None:
    """Write one line."""
    connection.execute(insert(LINES).values(job=job, time=time, record=documents.written(record)))


def since(connection: Connection, job: str, after: int = 0, limit: int = AT_ONCE) -> tuple[Line, ...]:
    """Return at most `limit` lines of a job whose id is above `after`, oldest first."""
    query = select(LINES).where(LINES.c.job == job, LINES.c.id > after).order_by(LINES.c.id).limit(limit)
    return tuple(
        Line(id=row.id, job=row.job, time=row.time, record=documents.read(row.record))
        for row in connection.execute(query)
    )


def last(connection: Connection, job: str, count: int) -> tuple[Line, ...]:
    """Return a job's newest `count` lines, oldest first."""
    found = (
        connection.execute(select(LINES.c.id).where(LINES.c.job == job).order_by(LINES.c.id.desc()).limit(count))
        .scalars()
        .all()
    )
    return since(connection, job, found[-1] - 1, count) if found else ()


def forget(connection: Connection, before: float) -> int:
    """Delete lines older than `before` (wall time in seconds) and return how many."""
    return connection.execute(delete(LINES).where(LINES.c.time < before)).rowcount
