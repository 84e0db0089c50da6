"""Every contract of the store is tested on SQLite and on PostgreSQL."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.store import Store, database_of
from aggregator.tables import jobs

sys.path.insert(0, str(Path(__file__).parent))

from postgres_under_test import PROGRAMS, Postgres

COUNT = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if PROGRAMS is None:
        pytest.skip("Debian's postgresql is not installed: make debian")
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return database_of(tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    return server.new(f"t{next(COUNT)}")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    found = Store(url)
    with found.begin() as connection:
        jobs.add(connection, "j", {"rounds": 3}, 100.0)
    yield found
    found.close()
