"""The journal of the round under way: every event that the engine took, in order, so that it can take them again.

An event is appended, and the transaction ended, before anything that it causes leaves the process. When the sum has
closed the journal is cleared and the store scrubbed: masked vectors and shares are gone from the disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select

from aggregator.schema import EVENTS


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event: `now` is what the engine saw as monotonic seconds, `clock` as wall time; `device` may be empty."""

    now: float
    clock: int
    kind: str
    device: str = ""
    data: bytes = field(default=b"", repr=False)


def append(connection: Connection, job: str, entry: Entry) -> None:
    """Write one event behind the others of its job."""
    connection.execute(insert(EVENTS).values(job=job, **vars(entry)))


def replay(connection: Connection, job: str) -> Iterator[Entry]:
    """Yield a job's events in the order in which they were appended; the transaction must stay open."""
    columns = (EVENTS.c.now, EVENTS.c.clock, EVENTS.c.kind, EVENTS.c.device, EVENTS.c.data)
    for row in connection.execute(select(*columns).where(EVENTS.c.job == job).order_by(EVENTS.c.id)):
        yield Entry(now=row.now, clock=row.clock, kind=row.kind, device=row.device, data=row.data)


def under_way(connection: Connection, job: str) -> bool:
    """Return whether a round of a job has begun and not ended."""
    query = select(EVENTS.c.id).where(EVENTS.c.job == job, EVENTS.c.kind == "start").limit(1)
    return connection.execute(query).first() is not None


def clear(connection: Connection, job: str) -> None:
    """Delete a job's events; once the transaction has ended, `Store.scrub` makes them unreadable too."""
    connection.execute(delete(EVENTS).where(EVENTS.c.job == job))
