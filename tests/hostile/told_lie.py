"""A lie that whoever holds the aggregator's key can tell a device."""

from typing import NamedTuple


class Lie(NamedTuple):
    """One row."""

    lie: str
    refusal: str
    vectors: tuple[str, ...]
