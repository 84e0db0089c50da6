"""Fixtures of the audit log's tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from audited_state import Audited


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Audited]:
    found = Audited(tmp_path)
    yield found
    found.close()
