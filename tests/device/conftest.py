"""Fixtures of the tests that run whole devices."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "link"))

from device_fleet import DeviceFleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[DeviceFleet]:
    found = DeviceFleet(tmp_path / "fleet")
    found.start()
    yield found
    found.close()
