"""Carries enrolment requests out of an aggregator's store, and answers and revocations into it.

Runs beside the aggregator's process or while there is none; it needs no key.
"""

from pathlib import Path

from accord import prg
from accord.files import write_atomic
from aggregator.fleet_folder import PUBLIC, REVOCATIONS
from aggregator.parcels import MOST, REQUESTS_FORM, Answers, Requests
from aggregator.store import existing
from aggregator.tables import requests
from aggregator.tables.requests import ENROL
from aggregator.transport_ca import CRL


class Post:
    """The store in an aggregator's state folder.

    Args:
        state: the folder.
        database: URL of the store; empty means SQLite in the folder.

    Raises:
        UsageError: there is no store.
        StoreError: it can't be opened.
    """

    def __init__(self, state: Path, database: str = "") -> None:
        self._state = state
        self._store = existing(state, database)

    def close(self) -> None:
        """Leave the store."""
        self._store.close()

    def collect(self) -> Requests:
        """Return the letters that nobody has answered, oldest first."""
        with self._store.read() as connection:
            waiting = requests.waiting(connection)
        return Requests(form=REQUESTS_FORM, letters=tuple(row.data for row in waiting if row.kind == ENROL)[:MOST])

    def deliver(self, answers: Answers) -> tuple[str, ...]:
        """Put answers where the aggregator takes them from, and the lists of who is revoked too.

        Returns:
            The devices whose letter is not there any more: they have asked again since, with another one.
        """
        write_atomic(self._state / REVOCATIONS, answers.revocations, PUBLIC)
        if answers.crl:
            write_atomic(self._state / CRL, answers.crl, PUBLIC)
        missed = []
        with self._store.begin() as connection:
            for answer in answers.answers:
                found = requests.of_device(connection, answer.device, ENROL)
                number = next((row.id for row in found if prg.digest(row.data) == answer.request), None)
                if number is None:
                    missed.append(answer.device)
                else:
                    requests.settle(connection, number, answer.status, answer.data)
        return tuple(missed)
