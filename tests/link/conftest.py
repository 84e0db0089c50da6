"""Fixtures of the link tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from brokers_under_test import RealBroker


@pytest.fixture(params=["embedded", "mosquitto"])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealBroker]:
    broker = RealBroker(request.param, tmp_path / "broker")
    broker.start()
    yield broker
    broker.close()
