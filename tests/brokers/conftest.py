"""Each story runs against each broker; what the project's table says a broker lacks must fail there."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "broker"))
sys.path.insert(0, str(Path(__file__).parent))

from authority import Authority
from brokers_under_test import CERTIFIED, KINDS, BrokerUnderTest

from broker.conformance import STORIES, reason


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "broker" in metafunc.fixturenames:
        metafunc.parametrize("broker", [_case(metafunc.function.__name__, kind) for kind in KINDS], indirect=True)


def _case(name: str, kind: str) -> object:
    story = name.removeprefix("test_")
    assert story in STORIES, f"{story} is not in broker.conformance"
    lacks = reason(story, kind)
    return pytest.param(kind, marks=[] if lacks is None else [pytest.mark.xfail(strict=True, reason=lacks)])


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerUnderTest]:
    """One broker on a free port, with the aggregator and two devices; the end of the test ends it."""
    certified = request.function.__name__.removeprefix("test_") in CERTIFIED
    found = BrokerUnderTest(
        request.param, tmp_path / "broker", Authority(tmp_path, "the authority") if certified else None
    )
    found.start()
    yield found
    found.close()
