"""Enrolment requests: what devices ask for, and what a person or an invitation answers."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from accord.errors import UsageError
from aggregator.schema import REQUESTS

APPROVED, RENEWED = "approved", "renewed"
ANSWERS = (APPROVED, "refused")
ENROL = "enrol"
"""The kind of a request for a certificate."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request; `answer` is what the device gets, None while it waits. `time` is wall time in seconds."""

    id: int
    device: str
    time: float
    kind: str
    data: bytes = field(repr=False)
    status: str
    answer: bytes | None = field(repr=False)


def ask(connection: Connection, device: str, kind: str, data: bytes, time: float) -> int:
    """Keep a request and return its number; the same bytes asked again are the same request."""
    same = (REQUESTS.c.device == device, REQUESTS.c.kind == kind, REQUESTS.c.data == data)
    known: int | None = connection.execute(select(REQUESTS.c.id).where(*same)).scalars().first()
    if known is not None:
        return known
    row = {"device": device, "time": time, "kind": kind, "data": data, "status": "waiting", "answer": None}
    number: int = connection.execute(insert(REQUESTS).values(**row).returning(REQUESTS.c.id)).scalar_one()
    return number


def ask_instead(connection: Connection, device: str, kind: str, data: bytes, time: float) -> int:
    """Keep a request as `ask` does, as the only one of its device and kind."""
    number = ask(connection, device, kind, data, time)
    others = (REQUESTS.c.device == device, REQUESTS.c.kind == kind, REQUESTS.c.id != number)
    connection.execute(delete(REQUESTS).where(*others))
    return number


def of_device(connection: Connection, device: str, kind: str) -> tuple[Asked, ...]:
    """Return a device's requests of one kind, oldest first."""
    query = select(REQUESTS).where(REQUESTS.c.device == device, REQUESTS.c.kind == kind).order_by(REQUESTS.c.id)
    return tuple(_asked(row) for row in connection.execute(query))


def count_waiting(connection: Connection) -> int:
    """Return how many nobody has answered."""
    query = select(func.count()).select_from(REQUESTS).where(REQUESTS.c.status == "waiting")
    return int(connection.execute(query).scalar_one())


def waiting(connection: Connection) -> tuple[Asked, ...]:
    """Return what nobody has answered, oldest first."""
    query = select(REQUESTS).where(REQUESTS.c.status == "waiting").order_by(REQUESTS.c.id)
    return tuple(_asked(row) for row in connection.execute(query))


def get(connection: Connection, number: int) -> Asked:
    """Return one request.

    Raises:
        UsageError: there is none of that number.
    """
    row = connection.execute(select(REQUESTS).where(REQUESTS.c.id == number)).one_or_none()
    if row is None:
        raise UsageError(f"there is no request {number}: `accord fleet list` shows those that wait")
    return _asked(row)


def answer(connection: Connection, number: int, status: str, data: bytes) -> None:
    """Answer a request once: `approved` or `refused`, with the bytes that the device gets.

    Raises:
        UsageError: it was answered before, there is none of that number, or the status is unknown.
    """
    if status not in ANSWERS:
        raise UsageError(f"a request is {' or '.join(ANSWERS)}, not {status!r}")
    at = (REQUESTS.c.id == number, REQUESTS.c.status == "waiting")
    if not connection.execute(update(REQUESTS).where(*at).values(status=status, answer=data)).rowcount:
        raise UsageError(f"request {number} was {get(connection, number).status} before")


def settle(connection: Connection, number: int, status: str, data: bytes) -> None:
    """Answer a request, or answer it anew, as when a certificate is renewed: then it is among the `renewed`.

    Raises:
        UsageError: the status is unknown.
    """
    if status not in ANSWERS:
        raise UsageError(f"a request is {' or '.join(ANSWERS)}, not {status!r}")
    before = get(connection, number)
    anew = before.status in (APPROVED, RENEWED) and status == APPROVED and before.answer != data
    values = {"status": RENEWED if anew else status, "answer": data}
    connection.execute(update(REQUESTS).where(REQUESTS.c.id == number).values(**values))


def renewed(connection: Connection) -> tuple[Asked, ...]:
    """Return the requests that were answered anew and whose answer nobody has handed on, oldest first."""
    query = select(REQUESTS).where(REQUESTS.c.status == RENEWED).order_by(REQUESTS.c.id)
    return tuple(_asked(row) for row in connection.execute(query))


def handed(connection: Connection, number: int) -> None:
    """Note that a renewed answer was handed on."""
    at = (REQUESTS.c.id == number, REQUESTS.c.status == RENEWED)
    connection.execute(update(REQUESTS).where(*at).values(status=APPROVED))


def _asked(row: Row[Any]) -> Asked:
    return Asked(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
