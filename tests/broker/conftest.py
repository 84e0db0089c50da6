"""Fixtures of the broker's tests."""

import gc
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from broker.config import Limits, Listener
from tests.broker.authority import Authority
from tests.broker.raw_client import RawClient
from tests.broker.served import PLAIN, Served


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    # Plain amqtt leaves event loops in pieces. Where Python 3.11 collects them while pytest parses the source for the
    # traceback of a failure that is expected, the parser raises a SystemError and the worker dies.
    gc.collect()
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "the authority")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while RawClient.open:
        RawClient.open.pop().vanish()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start a broker with the listeners that it is called with; the end of the test ends it."""
    running: list[Served] = []

    def start(*listeners: Listener, limits: Limits | None = None) -> Served:
        running.append(Served(tmp_path / "broker", listeners or PLAIN, limits))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()
