"""RESULT letters as they were sent: a device that was away asks for its own, and gets the same bytes."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, select

from aggregator.schema import RESULTS
from aggregator.tables.upsert import upsert


def put(
    connection: Connection, job: str, number: int, attempt: int, *, letters: Mapping[str, bytes], time: int
) -> None:
    """Keep the letters of one attempt.

    Args:
        connection: in a transaction.
        job: its name.
        number: the round.
        attempt: of the round.
        letters: by device.
        time: wall time in seconds, from which `forget` counts.
    """
    for device, data in letters.items():
        row = {"job": job, "round": number, "attempt": attempt, "device": device, "data": data, "time": time}
        upsert(connection, RESULTS, row, changes=["data", "time"])


def get(connection: Connection, job: str, number: int, attempt: int, device: str) -> bytes | None:
    """Return a device's letter, or None: it took no part, or the letter is too old."""
    at = (RESULTS.c.job == job, RESULTS.c.round == number, RESULTS.c.attempt == attempt, RESULTS.c.device == device)
    found: bytes | None = connection.execute(select(RESULTS.c.data).where(*at)).scalar_one_or_none()
    return found


def forget(connection: Connection, before: int) -> int:
    """Delete letters older than `before` (wall time in seconds) and return how many."""
    return connection.execute(delete(RESULTS).where(RESULTS.c.time < before)).rowcount


def latest(connection: Connection, job: str, device: str) -> bytes | None:
    """Return a device's newest letter in a job, or None."""
    query = select(RESULTS.c.data).where(RESULTS.c.job == job, RESULTS.c.device == device)
    newest = query.order_by(RESULTS.c.round.desc(), RESULTS.c.attempt.desc()).limit(1)
    found: bytes | None = connection.execute(newest).scalar_one_or_none()
    return found


def of_last(connection: Connection, job: str) -> dict[str, bytes]:
    """Return the letters of the last attempt of a job that has any, by device."""
    of_job = RESULTS.c.job == job
    newest = select(RESULTS.c.round, RESULTS.c.attempt).where(of_job)
    at = connection.execute(newest.order_by(RESULTS.c.round.desc(), RESULTS.c.attempt.desc()).limit(1)).first()
    if at is None:
        return {}
    query = select(RESULTS.c.device, RESULTS.c.data).where(of_job, RESULTS.c.round == at[0], RESULTS.c.attempt == at[1])
    return {row.device: row.data for row in connection.execute(query)}
