"""The store opens its database, brings it up to date, and keeps all of a transaction or none of it."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError

from accord.errors import UsageError
from aggregator import journal
from aggregator.journal import Entry
from aggregator.migrations import running
from aggregator.schema import JOBS, METADATA, REVISION
from aggregator.store import FILE, NewerStoreError, Store, StoreError, database_of
from aggregator.tables import jobs, lines

SCRIPT = ScriptDirectory(str(running.FOLDER))
REVISIONS = [revision.revision for revision in SCRIPT.walk_revisions()]


def names(store: Store) -> list[str]:
    with store.read() as connection:
        return [job.name for job in jobs.every(connection)]


def at_revision(url: str, revision: str) -> None:
    """Make a database as an older program left it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        running.upgrade(connection, revision)
    engine.dispose()
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).chmod(0o600)


@pytest.mark.parametrize("before", [None, *REVISIONS])
def test_every_earlier_database_is_brought_up_to_date(url: str, before: str | None) -> None:
    if before is not None:
        at_revision(url, before)
    store = Store(url)
    with store.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert context.get_current_revision() == SCRIPT.get_current_head()
        assert compare_metadata(context, METADATA) == [], "aggregator.schema and the migrations differ"
        jobs.add(connection, "j", {}, 1.0)
    store.close()
    again = Store(url)
    assert names(again) == ["j"]
    again.close()


def test_tables_that_nothing_wrote_are_gone_and_the_jobs_are_still_there(url: str) -> None:
    at_revision(url, "0002")
    engine = create_engine(url)
    with engine.begin() as connection:
        row = "('j', 1.0, 'done', '{}', 0, '')"
        connection.execute(text(f"INSERT INTO jobs (name, created, status, config, round, error) VALUES {row}"))
        assert {"salts", "leaves", "checkpoints"} <= set(inspect(connection).get_table_names())
    store = Store(url)
    assert names(store) == ["j"]
    with store.read() as connection:
        left = set(inspect(connection).get_table_names())
    assert left == {*METADATA.tables, "alembic_version"}
    store.close()
    engine.dispose()


def test_revisions_form_one_line() -> None:
    assert SCRIPT.get_heads() == [REVISION]
    assert len(SCRIPT.get_bases()) == 1


def test_a_newer_database_is_refused_by_name_and_left_alone(url: str) -> None:
    Store(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerStoreError, match=r"schema 9999.*start the version that wrote it"):
        Store(url)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    engine.dispose()


def test_a_transaction_is_kept_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(UsageError, match="resume it"), store.begin() as connection:  # noqa: PT012 - what it undoes
        jobs.add(connection, "half", {}, 1.0)
        jobs.add(connection, "j", {}, 1.0)
    assert names(store) == ["j"]


def test_a_row_of_a_job_that_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(IntegrityError), store.begin() as connection:
        lines.append(connection, "nobody", 1.0, {})
    assert names(store) == ["j"], "the store goes on"


def test_a_reader_sees_one_moment(store: Store) -> None:
    with store.read() as reading:
        assert len(reading.execute(select(JOBS)).all()) == 1
        with store.begin() as writing:
            jobs.add(writing, "later", {}, 200.0)
        assert len(reading.execute(select(JOBS)).all()) == 1
    assert names(store) == ["j", "later"]


def test_sqlite_is_set_up_to_lose_nothing_and_to_keep_nothing_that_was_deleted(tmp_path: Path) -> None:
    store = Store(database_of(tmp_path))
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 30_000}
    with store.begin() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted}
        assert found == wanted
        for path in tmp_path.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600, path
    store.close()


SECRET = b"MASKED-VECTOR-OF-DEV-7-" * 8


def raw(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_masked_vectors_are_nowhere_in_the_files_after_clear(tmp_path: Path) -> None:
    """Small ones share pages with others, large ones have pages of their own; some left the log long ago."""
    store = Store(database_of(tmp_path))
    with store.begin() as connection:
        for name in ("j", "other"):
            jobs.add(connection, name, {}, 1.0)
    for copies in (1, 3, 40, 2_000):
        for job, data in (("j", SECRET * copies), ("other", b"not the job's" * copies)):
            with store.begin() as connection:
                journal.append(connection, job, Entry(now=1.0, clock=1, kind="arrived", device="dev-7", data=data))
        if copies == 3:
            assert store.scrub(), "moves what is there from the log into the database file"
    assert SECRET in raw(tmp_path), "the test would find it"
    with store.begin() as connection:
        journal.clear(connection, "j")
    assert store.scrub()
    assert SECRET not in raw(tmp_path)
    assert b"MASKED-VECTOR" not in raw(tmp_path)
    with store.read() as connection:
        assert len(list(journal.replay(connection, "other"))) == 4
    store.close()


def test_scrub_says_when_a_reader_holds_the_log(tmp_path: Path) -> None:
    store = Store(database_of(tmp_path))
    with store.begin() as connection:
        jobs.add(connection, "j", {}, 1.0)
    reader = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM jobs").fetchall()
    with store.begin() as connection:
        journal.append(connection, "j", Entry(now=1.0, clock=1, kind="arrived", data=SECRET))
    assert not store.scrub(wait=0.05)
    reader.close()
    assert store.scrub()
    store.close()


def test_scrub_on_both(store: Store) -> None:
    assert store.scrub()


WRITER = """
import sys
from aggregator.store import Store
from aggregator.tables import lines
store = Store(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
for number in range(100):
    with store.begin() as connection:
        seen = len(lines.since(connection, "j"))
        lines.append(connection, "j", float(number), {"by": sys.argv[2], "seen": seen})
store.close()
"""


def test_two_processes_write_at_once(store: Store, url: str) -> None:
    words = [sys.executable, "-c", WRITER, url]
    workers = [
        subprocess.Popen([*words, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "open\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for number in range(30):
        with store.begin() as connection:
            lines.append(connection, "j", float(number), {"by": "us"})
        assert "j" in names(store)
    for worker in workers:
        worker.communicate(timeout=120)
        assert worker.returncode == 0
    with store.read() as connection:
        found = lines.since(connection, "j")
    assert len(found) == 230
    assert [line.id for line in found] == sorted({line.id for line in found})
    if url.startswith("sqlite"):
        for place, line in enumerate(found):
            assert line.record.get("seen", place) == place, "a writer decided on an old state"


def test_two_processes_make_the_database_at_once(url: str) -> None:
    code = "import sys; from aggregator.store import Store; Store(sys.argv[1]).close()"
    workers = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE) for _ in range(3)]
    for worker in workers:
        _, said = worker.communicate(timeout=60)
        assert worker.returncode == 0, said.decode()


def test_a_process_killed_in_the_middle_leaves_whole_transactions(url: str) -> None:
    code = """
import os, signal, sys
from aggregator.store import Store
from aggregator.tables import jobs
store = Store(sys.argv[1])
with store.begin() as connection:
    jobs.add(connection, "whole", {}, 1.0)
with store.begin() as connection:
    jobs.add(connection, "half", {}, 2.0)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == -9
    store = Store(url)
    assert names(store) == ["whole"]
    store.close()


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("mysql://u:secret@h/d", "is no database for Accord"),
        ("nonsense", "can't be read"),
        ("sqlite://", "the store is a file"),
        ("sqlite:////nowhere/accord.db", "look at the folder"),
    ],
)
def test_a_url_that_names_no_database(url: str, hint: str) -> None:
    with pytest.raises((UsageError, StoreError), match=hint) as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StoreError, match="whether it is reachable") as caught:
        Store("postgresql+psycopg://accord:topsecret@127.0.0.1:9/x")
    assert "topsecret" not in str(caught.value)


def test_a_file_that_others_may_read_or_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(b"not a database" * 100)
    path.chmod(0o644)
    with pytest.raises(StoreError, match=re.escape(f"chmod 600 {path}")):
        Store(database_of(tmp_path))
    path.chmod(0o600)
    with pytest.raises(StoreError, match="not a database"):
        Store(database_of(tmp_path))
