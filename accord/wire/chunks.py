"""Large objects in pieces: a manifest with a hash per piece, cutting, and an assembler that trusts no piece.

Objects are named by their BLAKE2b-256. Pieces may come twice, in any order and from anybody. See protocol section 11.
"""

from typing import ClassVar

from accord import prg
from accord.errors import CodecError, Refusal
from accord.records import Int, Many, Nested, Octets, Record, field
from accord.values import dataclass

CHUNK = 60_000
"""Bytes in a piece, so that a message with its topic stays under 64 KiB on every broker."""
MAX_CHUNKS = 16_384


@dataclass(frozen=True, kw_only=True)
class Manifest(Record):
    """What an object consists of; it travels in a signed letter."""

    LIMIT: ClassVar[int] = 1 << 20

    object: bytes = field(Octets(32))
    size: int = field(Int(0, CHUNK * MAX_CHUNKS))
    hashes: tuple[bytes, ...] = field(Many(Octets(32), 1, MAX_CHUNKS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.hashes) != pieces(self.size):
            raise CodecError(f"{self.size} bytes are {pieces(self.size)} pieces, not {len(self.hashes)}")


@dataclass(frozen=True, kw_only=True)
class Get(Record):
    """Send me the pieces of this object that are not in `have` (a bitmap, least significant bit first).

    `held` is the digest of the version that this device holds, so that a delta from there will do; `have` is then of
    whatever the aggregator serves in the object's place. Empty: the object itself.
    """

    object: bytes = field(Octets(32))
    have: bytes = field(Octets(0, MAX_CHUNKS // 8))
    held: bytes = field(Octets(0, 32))


@dataclass(frozen=True, kw_only=True)
class Merged(Record):
    """This delta leads from the version that you hold to the one that you asked for, and is smaller than that."""

    LIMIT: ClassVar[int] = 1 << 20

    wanted: bytes = field(Octets(32))
    base: bytes = field(Octets(32))
    manifest: Manifest = field(Nested(Manifest))


@dataclass(frozen=True, kw_only=True)
class Have(Record):
    """These pieces of your transfer are here; `done` once the whole is verified."""

    object: bytes = field(Octets(32))
    have: bytes = field(Octets(0, MAX_CHUNKS // 8))


@dataclass(frozen=True, kw_only=True)
class Piece(Record):
    """One piece; unsigned, as its hash stands in the manifest."""

    object: bytes = field(Octets(32))
    index: int = field(Int(0, MAX_CHUNKS - 1))
    data: bytes = field(Octets(0, CHUNK))


def pieces(size: int) -> int:
    """Return how many pieces `size` bytes make: at least one."""
    return max(1, -(-size // CHUNK))


def manifest(data: bytes) -> Manifest:
    """Return the manifest of `data`.

    Raises:
        CodecError: it is larger than one transfer carries.
    """
    parts = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]
    return Manifest(object=prg.digest(data), size=len(data), hashes=tuple(prg.digest(part) for part in parts))


def piece(data: bytes, name: bytes, index: int) -> Piece:
    """Return piece `index` of `data`, whose digest is `name`."""
    return Piece(object=name, index=index, data=data[index * CHUNK : (index + 1) * CHUNK])


def missing(have: bytes, count: int) -> list[int]:
    """Return the indices below `count` that the bitmap `have` lacks."""
    number = int.from_bytes(have, "little")
    return [index for index in range(count) if not number >> index & 1]


class Assembler:
    """Puts one object together; memory is taken as pieces come, never on a claim.

    Args:
        wanted: the manifest, from a letter whose signature was checked.
        limit: the largest size in bytes that is accepted.

    Raises:
        Refusal: `TooLarge`.
    """

    def __init__(self, wanted: Manifest, limit: int) -> None:
        if wanted.size > limit:
            raise Refusal("TooLarge", f"{wanted.size} bytes where at most {limit} are accepted")
        self.manifest = wanted
        self._parts: dict[int, bytes] = {}

    @property
    def have(self) -> bytes:
        """The pieces that are here, as a bitmap."""
        number = sum(1 << index for index in self._parts)
        return number.to_bytes(-(-len(self.manifest.hashes) // 8), "little")

    def add(self, found: Piece) -> bytes | None:
        """Take a piece and return the whole object once it is complete.

        Raises:
            Refusal: `ForeignPiece` or `BadPiece`; nothing was changed.
        """
        count = len(self.manifest.hashes)
        if found.object != self.manifest.object or found.index >= count:
            raise Refusal("ForeignPiece", f"piece {found.index} is not of this object")
        if prg.digest(found.data) != self.manifest.hashes[found.index]:
            raise Refusal("BadPiece", f"piece {found.index} has another hash")
        self._parts[found.index] = found.data
        if len(self._parts) < count:
            return None
        data = b"".join(self._parts[index] for index in range(count))
        if len(data) != self.manifest.size or prg.digest(data) != self.manifest.object:
            raise Refusal("BadPiece", "the pieces do not make the object that the manifest names")
        return data
