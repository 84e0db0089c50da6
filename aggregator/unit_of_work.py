"""One transaction for everything that one thread writes until it commits: jobs side by side share it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from sqlalchemy import Connection

from aggregator.store import Store

PATIENCE = 0.2
"""Seconds for which other readers of the write-ahead log are waited for when it is emptied."""


class _AbandonedError(Exception):
    """Ends a transaction that is not to be committed."""


class UnitOfWork:
    """A transaction that begins with the first thing written and ends with `commit`.

    Args:
        store: open.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: AbstractContextManager[Connection] | None = None
        self._connection: Connection | None = None
        self._secrets = False

    def writing(self) -> Connection:
        """Return the transaction, begun if it was not.

        Raises:
            StoreError: the database can't be written.
        """
        if self._connection is None:
            self._open = self._store.begin()
            self._connection = self._open.__enter__()
        return self._connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Look at what is there, with what was written and not yet committed."""
        if self._connection is not None:
            yield self._connection
            return
        with self._store.read() as connection:
            yield connection

    def deleted_secrets(self) -> None:
        """Have what was deleted made unreadable once it is committed."""
        self._secrets = True

    def commit(self) -> None:
        """Make everything durable.

        Raises:
            StoreError: the database can't be written.
        """
        if self._open is not None:
            opened, self._open, self._connection = self._open, None, None
            opened.__exit__(None, None, None)
        if self._secrets:
            self._secrets = not self._store.scrub(PATIENCE)

    def abandon(self) -> None:
        """Leave without what was not committed."""
        if self._open is not None:
            opened, self._open, self._connection = self._open, None, None
            error = _AbandonedError()
            with suppress(_AbandonedError):
                opened.__exit__(_AbandonedError, error, None)
