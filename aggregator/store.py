"""The database behind the aggregator: one engine by URL, one transaction at a time, its schema brought up to date.

SQLite in the state folder, or PostgreSQL by `postgresql+psycopg://`. Knows no table; those are `aggregator.tables`.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError

from accord.errors import AccordError, UsageError
from accord.files import ADVICE
from aggregator.schema import REVISION

FILE = "accord.db"
BUSY = 30
"""Seconds that one process waits for another's transaction on the same SQLite file."""
_LOCK = 0x6163636F7264
"""The key ("accord") of the PostgreSQL advisory lock under which the schema changes."""


_STATES = {
    "SQLITE_FULL": ADVICE[errno.ENOSPC],
    "SQLITE_READONLY": ADVICE[errno.EROFS],
    "SQLITE_IOERR_SHMSIZE": ADVICE[errno.ENOSPC],
    "SQLITE_IOERR": ADVICE[errno.EIO],
    "SQLITE_PERM": ADVICE[errno.EACCES],
    "SQLITE_CORRUPT": ("Damaged", "stop everything that uses it, and bring back a backup"),
    "SQLITE_NOTADB": ("Damaged", "stop everything that uses it, and bring back a backup"),
}
"""Names and advice by what SQLite's error names begin with; the first that fits counts."""


class StoreError(AccordError):
    """The database can't be used as it is; the message says what to look at.

    Args:
        message: the sentence.
        reason: the stable name of the state, as of `FileError`, or `Damaged`, or empty.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class NewerStoreError(StoreError):
    """The database was written by a newer Accord: this one would damage it, so it doesn't open it."""


def database_of(folder: Path) -> str:
    """Return the URL of the database that lies in a state folder."""
    return URL.create("sqlite", database=str(folder / FILE)).render_as_string()


def existing(folder: Path, url: str | None = None) -> "Store":
    """Open the store that an aggregator has made, for a command that looks into it.

    Args:
        folder: the aggregator's state folder.
        url: of its database; none means SQLite in the folder.

    Raises:
        UsageError: there is none.
        StoreError: it can't be opened.
    """
    if not url and not (folder / FILE).exists():
        raise UsageError(
            f"{folder} holds no {FILE}: is it the aggregator's state folder (the state folder of `accord up`)? "
            "With PostgreSQL add --database"
        )
    return Store(url or database_of(folder))


class Store:
    """An open database whose schema is this program's.

    Args:
        url: `sqlite:///PATH` (made with mode 0600 if it isn't there) or `postgresql+psycopg://USER:PASSWORD@HOST/NAME`.

    Raises:
        UsageError: the URL names no database that Accord knows, or its driver is not installed.
        NewerStoreError: a newer Accord has written it.
        StoreError: it can't be opened.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        try:
            self._upgrade()
        except BaseException:
            self._engine.dispose()
            raise

    @property
    def name(self) -> str:
        """The URL for people: without the password."""
        return self._engine.url.render_as_string(hide_password=True)

    def begin(self) -> AbstractContextManager[Connection]:
        """Open one transaction that writes: all of it is durable when the block ends, or none if it raises.

        Raises:
            StoreError: on entry, inside or at the end: the disk is full or read-only, another process holds the
                database for longer than `BUSY` seconds, or the connection is lost.
        """
        return self._transaction("IMMEDIATE")

    def read(self) -> AbstractContextManager[Connection]:
        """Open one transaction that only reads: it sees one moment, and nobody waits for it.

        Raises:
            StoreError: as for `begin`.
        """
        return self._transaction("DEFERRED")

    def scrub(self, wait: float = BUSY) -> bool:
        """Make deleted rows unreadable in the database's own files, once the transaction that deleted them has ended.

        SQLite overwrites deleted content with zeros (`secure_delete`); this empties the write-ahead log, which holds
        older copies of pages. PostgreSQL is asked to vacuum; what its write-ahead log and its disk keep beyond that is
        its operator's to encrypt.

        Args:
            wait: seconds for which readers of the log are waited for.

        Returns:
            False if another process was reading SQLite's log for that long: call again later.

        Raises:
            StoreError: the database can't be written.
        """
        if self._engine.dialect.name != "sqlite":
            with self._named(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM"))
            return True
        with self._named(), self._engine.connect() as connection:  # in no transaction, as no mode was asked for
            try:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={round(wait * 1000)}")
                busy: int = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY * 1000}")
            return not busy

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[Connection]:
        options: dict[str, Any] = {"accord_mode": mode}
        if mode == "DEFERRED" and self._engine.dialect.name != "sqlite":
            options["isolation_level"] = "REPEATABLE READ"
        with self._named(), self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn the driver's errors into ours; a broken constraint is the caller's to understand."""
        try:
            yield
        except IntegrityError:
            raise
        except (DatabaseError, sqlite3.Error) as error:
            cause = getattr(error, "orig", error)
            reason, advice = _named_state(getattr(cause, "sqlite_errorname", ""))
            said = str(cause).strip()
            raise StoreError(f"the database {self.name} can't be used: {said}; {advice}", reason) from error

    def _upgrade(self) -> None:
        with self.read() as connection:
            if _revision(connection) == REVISION:
                return
        from aggregator.migrations import running  # noqa: PLC0415 - loaded only where there is something to do

        with self.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            found = _revision(connection)
            if found == REVISION:
                return  # another process was quicker
            if found is not None and found not in running.known():
                raise NewerStoreError(
                    f"the database {self.name} has schema {found}, and this Accord knows up to {REVISION}: start the "
                    "version that wrote it, or a newer one"
                )
            running.upgrade(connection)


def _named_state(sqlite: str) -> tuple[str, str]:
    """Return the name of the state behind an error of SQLite, and what to do."""
    for prefix, found in _STATES.items():
        if sqlite.startswith(prefix):
            return found
    return "", "look at free space, permissions, whether it is reachable, and whether another process holds it"


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return found


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
            raise UsageError(
                f"{parsed.drivername!r} is no database for Accord: use sqlite:///PATH or postgresql+psycopg://"
            )
        engine = create_engine(parsed)
    except (ArgumentError, NoSuchModuleError) as error:
        raise UsageError(
            "the database URL can't be read: use sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
        ) from error
    except ModuleNotFoundError as error:
        raise UsageError("PostgreSQL needs psycopg: pip install 'accord-fl[postgres]'") from error
    if engine.dialect.name == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise UsageError("the store is a file: use sqlite:///PATH")
        _own(Path(str(parsed.database)))
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _own(path: Path) -> None:
    """Make the file for us alone before SQLite does; its log and its index take over the mode."""
    try:
        path.touch(0o600)
        mode = path.stat().st_mode
    except OSError as error:
        reason, advice = ADVICE.get(error.errno or 0, ("", ""))
        if reason in ("", "NotFound"):
            advice = "look at the folder and its permissions"
        raise StoreError(f"{path} can't be opened: {error.strerror}; {advice}", reason) from error
    if mode & 0o077:
        raise StoreError(f"{path} is readable by others: chmod 600 {path}")


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own idea of when a transaction begins is too late for us
    connection.execute(f"PRAGMA busy_timeout={BUSY * 1000}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")


def _begin(connection: Connection) -> None:
    # A writer takes the lock at once: one that began by reading could not wait for another's changes.
    mode = connection.get_execution_options().get("accord_mode")
    if mode is not None:
        connection.exec_driver_sql(f"BEGIN {mode}")
