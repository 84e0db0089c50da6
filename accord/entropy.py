"""Where randomness comes from: the operating system, or a seed in tests and simulations.

Floors 0 to 3 never draw randomness themselves; they take an `Entropy`. `child` separates uses by name, so that a
seeded run draws the same numbers for one use whatever another use draws.
"""

import hashlib
import os
from typing import Protocol


class Entropy(Protocol):
    """A source of bytes that nobody else can predict (or, when seeded, that a test can repeat)."""

    def __call__(self, size: int) -> bytes:
        """Return `size` fresh bytes."""
        ...

    def child(self, *label: object) -> "Entropy":
        """Return the source for one named use; the same name gives the same stream when seeded."""
        ...


class SystemEntropy:
    """The operating system's generator: for every process that talks to a network."""

    __slots__ = ()

    def __call__(self, size: int) -> bytes:
        """Return `size` bytes from the operating system."""
        return os.urandom(size)

    def child(self, *_label: object) -> "SystemEntropy":
        """Return itself: separate uses need no separate names here."""
        return self


class SeededEntropy:
    """BLAKE2b in counter mode under a seed: repeatable.

    It is as secret as its seed: 32 bytes of the operating system's for what a process must be able to draw again after
    a restart, a number for tests and `simulate`, never for a network.

    Args:
        seed: an integer, or 32 secret bytes.
    """

    __slots__ = ("_count", "_key")

    def __init__(self, seed: int | bytes) -> None:
        data = seed if isinstance(seed, bytes) else b"seed:%d" % seed
        self._key = hashlib.blake2b(data, digest_size=32, person=b"accord/1/seeded").digest()
        self._count = 0

    def __repr__(self) -> str:
        return "SeededEntropy(...)"

    def __call__(self, size: int) -> bytes:
        """Return the next `size` bytes of the stream."""
        parts = []
        for _ in range(-(-size // 64)):
            counter = self._count.to_bytes(8, "little")
            parts.append(hashlib.blake2b(counter, key=self._key).digest())
            self._count += 1
        return b"".join(parts)[:size]

    def child(self, *label: object) -> "SeededEntropy":
        """Return the stream that belongs to `label` (its parts' `repr`) under this one's key."""
        return SeededEntropy(hashlib.blake2b(repr(label).encode(), key=self._key, digest_size=32).digest())
