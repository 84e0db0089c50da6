"""Versions whose parameters a person has let go: their records stay, and nobody looks for the bytes any more."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from aggregator.schema import PRUNED
from aggregator.tables.upsert import inserted


def of(connection: Connection, job: str) -> frozenset[int]:
    """Return the numbers of a job's."""
    return frozenset(connection.execute(select(PRUNED.c.version).where(PRUNED.c.job == job)).scalars())


def put(connection: Connection, job: str, versions: Iterable[int], time: float) -> None:
    """Note them.

    Args:
        connection: in a transaction that writes.
        job: its name.
        versions: their numbers.
        time: wall time in seconds.
    """
    for version in versions:
        inserted(connection, PRUNED, {"job": job, "version": version, "time": time})
