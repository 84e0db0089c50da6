"""What a dealer commits to in SHARE: one hash per share, so that a wrong holder is told from a wrong dealer."""

from accord import prg

SECRET = 32
"""Bytes of each of the two secrets, and of each half of a share: first the self mask's, then the mask key's."""
SHORT_HASH = 16
"""Bytes of the hash of one half; a holder would need a second preimage."""


def share_hash(share: bytes) -> bytes:
    """Return the commitment to one share of 64 bytes: 16 bytes for each half, 32 in all."""
    return half_hash(share[:SECRET]) + half_hash(share[SECRET:])


def half_hash(half: bytes) -> bytes:
    """Return the 16-byte hash of one half of a share, 32 bytes."""
    return prg.digest(half)[:SHORT_HASH]
