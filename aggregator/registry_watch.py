"""Writes into the audit log what commands have done to the registry: rollbacks and promotions.

`accord model` works beside the aggregator, or while there is none, and the log has one writer.
"""

from collections.abc import Callable, Iterator

from sqlalchemy import Connection, select

from accord.errors import CodecError
from accord.records import RecordType
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles, opened
from accord.wire.versions import Promotion, Version
from aggregator.audit import entries
from aggregator.audit.entries import AuditEntry
from aggregator.chronicle import AuditChronicle
from aggregator.schema import PROMOTIONS, ROLES, VERSIONS
from aggregator.tables import logged
from aggregator.tables.logged import Reached
from aggregator.tables.upsert import inserted
from aggregator.unit_of_work import UnitOfWork


class RegistryWatch:
    """The registry of one store.

    Args:
        work: the transaction.
        chronicle: writes the audit log.
        clock: wall time in whole seconds.
    """

    def __init__(self, work: UnitOfWork, chronicle: AuditChronicle, clock: Callable[[], int]) -> None:
        self._work, self._chronicle, self._clock = work, chronicle, clock

    def know(self, roles: bytes) -> None:
        """Keep a roles document in the registry: its publisher's signatures count from here on."""
        connection = self._work.writing()
        inserted(connection, ROLES, {"version": opened(Envelope.decode(roles), Roles).version, "letter": roles})
        self._work.commit()

    def look(self) -> None:
        """Log what is new; a row that can't be read is left to `accord model verify`."""
        with self._work.reading() as connection:
            before = logged.known(connection)
            news = [now for now in logged.there(connection) if now != before.get(now.job)]
            found = [entry for now in news for entry in self._entries(connection, before.get(now.job), now.job)]
        if not news:
            return
        self._chronicle.write(*found)
        connection = self._work.writing()
        for now in news:
            logged.put(connection, now)
        self._work.commit()

    def _entries(self, connection: Connection, before: Reached | None, job: str) -> Iterator[AuditEntry]:
        start, now = before or Reached(job=job), self._clock()
        versions = select(VERSIONS.c.letter).where(VERSIONS.c.job == job, VERSIONS.c.version > start.version)
        for letter in connection.execute(versions.order_by(VERSIONS.c.version)).scalars():
            version = _read(letter, Version)
            if version is not None and version.origin == "rollback":
                yield entries.of_rollback(now, job, version.version, letter)
        promotions = select(PROMOTIONS.c.letter).where(PROMOTIONS.c.job == job, PROMOTIONS.c.number > start.promotion)
        for letter in connection.execute(promotions.order_by(PROMOTIONS.c.number)).scalars():
            promotion = _read(letter, Promotion)
            if promotion is not None:
                yield entries.of_promotion(now, job, promotion.version, letter)


def _read(letter: bytes, kind: type[RecordType]) -> RecordType | None:
    try:
        return opened(Envelope.decode(letter), kind)
    except CodecError:
        return None
