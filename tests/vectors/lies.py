"""Every bad vector by the name of its refusal."""

from collections.abc import Callable, Iterator

import aggregator_lies
import delta_lies
import device_lies
import enrolment_lies
import quorum_lies
import roster_lies
import small_lies
import sparse_lies
from taped import Case, Named

MAKERS: tuple[Callable[[], Iterator[Named]], ...] = (
    small_lies.cases,
    delta_lies.cases,
    sparse_lies.cases,
    device_lies.cases,
    roster_lies.cases,
    aggregator_lies.cases,
    enrolment_lies.cases,
    quorum_lies.cases,
)


def all_cases() -> dict[str, list[Case]]:
    """Return the cases of each refusal, in the order in which they are made."""
    found: dict[str, list[Case]] = {}
    for make in MAKERS:
        for name, case in make():
            found.setdefault(name, []).append(case)
    return found
