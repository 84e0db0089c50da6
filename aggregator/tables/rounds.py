"""Rounds that have ended: one row each, with the record that people and reports read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from accord.errors import UsageError
from aggregator.schema import ROUNDS
from aggregator.tables import documents
from aggregator.tables.upsert import upsert


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """One round as it ended: `started` is wall time and `seconds` how long it took; `reason` names an abort."""

    job: str
    round: int
    attempt: int
    purpose: str
    status: str
    reason: str
    started: float
    seconds: float
    record: Mapping[str, Any]


def put(connection: Connection, row: RoundRow) -> None:
    """Write a round down; written again, as after a restart, it replaces itself."""
    values = {**vars(row), "record": documents.written(row.record)}
    upsert(connection, ROUNDS, values, changes=[name for name in values if name not in ("job", "round")])


def get(connection: Connection, job: str, number: int) -> RoundRow:
    """Return one round.

    Raises:
        UsageError: it has not ended, or never began.
    """
    found = connection.execute(select(ROUNDS).where(ROUNDS.c.job == job, ROUNDS.c.round == number)).one_or_none()
    if found is None:
        raise UsageError(f"job {job!r} has no closed round {number}: `accord round list` shows those that are")
    return _round(found)


def of_job(connection: Connection, job: str) -> tuple[RoundRow, ...]:
    """Return a job's rounds in order."""
    found = connection.execute(select(ROUNDS).where(ROUNDS.c.job == job).order_by(ROUNDS.c.round))
    return tuple(_round(row) for row in found)


def last(connection: Connection, job: str) -> RoundRow | None:
    """Return a job's last round, or None."""
    query = select(ROUNDS).where(ROUNDS.c.job == job).order_by(ROUNDS.c.round.desc()).limit(1)
    found = connection.execute(query).one_or_none()
    return None if found is None else _round(found)


def _round(row: Row[Any]) -> RoundRow:
    return RoundRow(**{**row._mapping, "record": documents.read(row.record)})  # noqa: SLF001 - SQLAlchemy's public name
