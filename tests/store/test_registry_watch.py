"""Rollbacks and promotions that commands made are in the audit log, once, whoever was running then."""

import time
from pathlib import Path

import pytest
from registry_under_test import CLOCK, History
from sqlalchemy import text

from accord import prg
from accord.entropy import SeededEntropy
from aggregator.audit.entries import AuditEntry
from aggregator.audit.folder import AuditFolder
from aggregator.audit.log import AuditLog
from aggregator.audit.salts import Salts
from aggregator.blobs import Blobs
from aggregator.chronicle import AuditChronicle
from aggregator.registry_watch import RegistryWatch
from aggregator.store import Store
from aggregator.unit_of_work import UnitOfWork


class Town:
    """A store that commands write to, and an aggregator that is started now and then."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.history = History(Blobs(folder / "blobs"))
        with store.begin() as connection:
            self.made = self.history.rounds(connection, 2)

    def rollback(self, to: int) -> bytes:
        history = self.history
        with self.store.begin() as connection:
            entry = history.registry.get(connection, "j", to)
            return history.registry.rollback(
                connection, history.desk, entry, history.fleet.roles(), "0.1.0", CLOCK + 9
            ).letter

    def promote(self, number: int) -> None:
        with self.store.begin() as connection:
            self.history.promote(connection, number)

    def looks(self, times: int = 1) -> list[AuditEntry]:
        """Start an aggregator, let it look, and return what the log says in all."""
        folder = AuditFolder(self.folder / "state")
        try:
            log = AuditLog(folder, key=self.history.fleet.aggregator, tenant="t")
            chronicle = AuditChronicle(log, Salts(self.folder / "salts", SeededEntropy(1)), lambda: int(time.time()))
            watch = RegistryWatch(UnitOfWork(self.store), chronicle, lambda: CLOCK)
            for _ in range(times):
                watch.look()
            return log.read(0, log.size)
        finally:
            folder.close()


@pytest.fixture
def town(tmp_path: Path, store: Store) -> Town:
    return Town(tmp_path, store)


def test_what_commands_did_is_logged_once(town: Town) -> None:
    assert town.looks() == [], "versions that rounds made are logged as releases"
    letter = town.rollback(1)
    found = town.looks(3)
    assert [(e.kind, e.subject) for e in found] == [("rollback", "j/3")]
    assert found[0].digest == prg.digest(letter)
    town.promote(3)
    town.promote(1)
    assert [(e.kind, e.subject) for e in town.looks()] == [
        ("rollback", "j/3"),
        ("promotion", "j/3"),
        ("promotion", "j/1"),
    ]
    assert len(town.looks(2)) == 3, "a restart writes nothing again"


def test_killed_between_the_log_and_the_store_it_writes_nothing_twice(town: Town) -> None:
    town.rollback(0)
    assert len(town.looks()) == 1
    with town.store.begin() as connection:
        connection.execute(text("DELETE FROM logged"))
    assert len(town.looks()) == 1


def test_a_row_that_can_not_be_read_hides_no_other(town: Town) -> None:
    with town.store.begin() as connection:
        connection.execute(text("UPDATE versions SET letter = :noise WHERE version = 1"), {"noise": b"noise"})
    town.rollback(0)
    assert [(e.kind, e.subject) for e in town.looks()] == [("rollback", "j/3")]
