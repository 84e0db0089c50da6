"""A small part of every long check, and what `make soak` says when one of them is wrong."""

import json
from typing import Any

import pytest

from tests import soak


def silent(_what: str) -> None:
    pass


@pytest.mark.parametrize("check", [c for c in soak.CHECKS if c.reduced], ids=lambda c: c.name)
def test_a_part_of_each_check(check: soak.Check) -> None:
    found = check.run(check.reduced, check.seed, silent)
    assert found
    if "ended" in found and check.name == "cohorts":
        assert sum(found["ended"].values()) == check.reduced
        assert found["ended"]["exact"] > 0


def test_a_wrong_result_is_told_and_the_others_still_run(capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(_count: int, _seed: int, _told: soak.Told) -> dict[str, Any]:
        raise AssertionError("2 + 2 is 5")

    checks = (
        soak.Check(name="wrong", run=wrong, full=1, reduced=1),
        soak.Check(name="cohorts", run=soak.cohorts, full=5, reduced=1, seed=3),
    )
    assert soak.main([], checks) == 1
    said = capsys.readouterr()
    record = json.loads(said.out.splitlines()[-1])
    assert record["wrong"] == ["wrong"]
    assert "2 + 2" in record["checks"]["wrong"]["error"]
    assert record["checks"]["cohorts"]["count"] == 5
    assert record["checks"]["cohorts"]["seed"] == 3
    assert "wrong: WRONG" in said.err
    assert soak.main(["--only", "cohorts"], checks) == 0
