"""Tables of stages and calls, and what a call comes to."""

from collections.abc import Callable

import numpy as np

from accord.errors import Aborted, Refusal


def rows(table: str) -> list[tuple[str, str, str]]:
    head, *lines = [line.split() for line in table.strip().splitlines()]
    return [(stage, name, cell) for name, *cells in lines for stage, cell in zip(head, cells, strict=True)]


def outcome(call: Callable[[], object]) -> str:
    try:
        found = call()
    except (Refusal, Aborted) as error:
        return error.reason
    found = found[0] if isinstance(found, tuple) else found
    if found is None:
        return "added"
    return "sum" if isinstance(found, np.ndarray) else str(found) if isinstance(found, bool) else type(found).__name__
