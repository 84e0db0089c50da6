"""Fixtures of the tests of enrolment."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from enrolling_fleet import Office, office


@pytest.fixture
def enrolment(tmp_path: Path) -> Office:
    return office(tmp_path)
