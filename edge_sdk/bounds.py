"""How many examples a device keeps: count, bytes and age."""

from accord.errors import UsageError
from accord.values import dataclass

PARTS = 8
"""A segment file holds at most this part of each bound."""
LARGEST = 1 << 29
"""Bytes that may be asked for: examples are read into memory."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much is kept; what is older goes first."""

    max_examples: int = 10_000
    max_bytes: int = 64_000_000  # bytes on disk
    max_age: int = 90 * 86_400  # seconds

    def __post_init__(self) -> None:
        if not all(type(value) is int for value in (self.max_examples, self.max_bytes, self.max_age)):
            raise UsageError("max_examples, max_bytes and max_age are whole numbers of examples, bytes and seconds")
        if self.max_examples < PARTS or self.max_bytes < 8_192 or self.max_age < 60:
            raise UsageError(
                f"a store keeps at least {PARTS} examples, 8192 bytes and 60 seconds: "
                "raise max_examples, max_bytes or max_age",
            )
        if self.max_bytes > LARGEST:
            raise UsageError(f"max_bytes is at most {LARGEST}")

    @property
    def segment(self) -> int:
        """Bytes of one segment."""
        return self.max_bytes // PARTS
