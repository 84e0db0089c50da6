"""What is said of a version can't contradict itself, and its figures come back to the last bit."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accord.errors import CodecError
from accord.plan import Task
from accord.wire.versions import CohortRoot, DataSchema, Measurement, Version, figures_of, transcript_of

TASK = Task(kind="classification", outputs=2, target_exponent=0, transform="none")
DATA = DataSchema(input_shape=(3,), columns=("a", "b", "c"), task=TASK)
COHORT = CohortRoot(name="c1", root=b"r" * 32, survivors=b"\x07")
D = b"d" * 32


def version(**changes: Any) -> Version:
    fields: dict[str, Any] = {
        "tenant": "t",
        "job": "j",
        "version": 1,
        "origin": "round",
        "parent": D,
        "restored": b"",
        "round": 1,
        "attempt": 1,
        "plan": D,
        "previous": D,
        "cohorts": (COHORT,),
        "transcript": D,
        "bundle": D,
        "params": D,
        "params_size": 4,
        "code": "0.1.0",
        "data": DATA,
        "roles_version": 1,
        "time": 9,
    }
    return Version(**(fields | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"parent": b"short"},
        {"parent": b""},
        {"plan": b""},
        {"cohorts": ()},
        {"restored": D},
        {"origin": "rollback"},
        {"origin": "rollback", "restored": D},
        {"origin": "bundle"},
        {"origin": "elsewhere"},
        {"params_size": 0},
        {"code": "x" * 65},
    ],
)
def test_a_version_that_contradicts_itself_is_never_born(change: dict[str, Any]) -> None:
    version()
    with pytest.raises(CodecError):
        version(**change)


def test_a_version_is_known_by_all_that_it_says() -> None:
    assert version().digest == version().digest
    others = {version(**change).digest for change in ({"time": 8}, {"code": "0.1.1"}, {"params": b"e" * 32})}
    assert len(others | {version().digest}) == 4


def test_another_task_or_column_is_another_data_schema() -> None:
    same = DataSchema(input_shape=(3,), columns=("a", "b", "c"), task=TASK)
    other = DataSchema(input_shape=(3,), columns=("a", "c", "b"), task=TASK)
    assert DATA.digest == same.digest != other.digest


@given(st.dictionaries(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
@example({"smallest": 5e-324, "largest": 1.7976931348623157e308, "zero": 0.0, "third": 1 / 3})
def test_figures_come_back_to_the_last_bit(values: dict[str, float]) -> None:
    measured = Measurement(job="j", version=1, digest=D, round=2, roles_version=1, figures=figures_of(values))
    assert Measurement.decode(measured.encode()).values == values


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_figure(value: float) -> None:
    with pytest.raises(CodecError, match="'loss'"):
        figures_of({"loss": value})


def test_a_transcript_covers_everything_before_it() -> None:
    found = transcript_of(D, D, (COHORT,))
    others = {
        transcript_of(bytes(32), D, (COHORT,)),
        transcript_of(D, bytes(32), (COHORT,)),
        transcript_of(D, D, (COHORT, COHORT)),
        transcript_of(D, D, ()),
    }
    assert len(others | {found}) == 5
