"""Examples as they lie in a segment file: framed records, each with a digest of its own. Nothing is ever unpickled.

A frame is `ACX1`, the length of the record (4 bytes, little-endian), BLAKE2b-128 over both and the record, and the
record: one CBOR array. What a power cut tore, or a bad card changed, is told by the digest.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from accord.errors import CodecError
from accord.records import Int, Many, Octets, OneOf, Record, field
from accord.values import dataclass
from edge_sdk.rows import Array

MAGIC = b"ACX1"
TYPES = ("<f4", "<f8", "|u1", "|i1", "<i2", "<i4", "<i8", "|b1")
"""NumPy's names of what x and y may hold."""
LARGEST = 1 << 26  # bytes of one record
_HEAD = struct.Struct("<4sI16s")
_SIZE = Int(0, 2**31)


@dataclass(frozen=True, kw_only=True)
class ExampleRecord(Record):
    """Rows of one split that were added together; `time` in seconds since 1970."""

    LIMIT: ClassVar[int] = LARGEST

    time: int = field(Int(0, 2**48))
    split: str = field(OneOf(("train", "test")))
    x_type: str = field(OneOf(TYPES))
    x_shape: tuple[int, ...] = field(Many(_SIZE, 1, 8))
    x: bytes = field(Octets(0, LARGEST))
    y_type: str = field(OneOf(TYPES))
    y: bytes = field(Octets(0, LARGEST))

    def __post_init__(self) -> None:
        super().__post_init__()
        elements = 1
        for length in self.x_shape:
            elements *= length
        if len(self.x) != elements * np.dtype(self.x_type).itemsize:
            raise CodecError("the bytes of x are not those of its shape")
        if len(self.y) != self.x_shape[0] * np.dtype(self.y_type).itemsize:
            raise CodecError("x and y have different numbers of rows")

    @property
    def rows(self) -> int:
        """How many examples."""
        return self.x_shape[0]

    @property
    def kind(self) -> tuple[str, tuple[int, ...], str]:
        """What must be alike in all records of a store: the type and shape of one row, and the type of y."""
        return self.x_type, self.x_shape[1:], self.y_type

    def arrays(self) -> tuple[Array, Array]:
        """Return x and y as arrays that can't be written to."""
        return np.frombuffer(self.x, self.x_type).reshape(self.x_shape), np.frombuffer(self.y, self.y_type)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """Where a segment can't be read on: the offset, and whether it ends in the middle of a frame or is damaged."""

    at: int
    reason: str  # "torn" or "damaged"


def framed(record: ExampleRecord) -> bytes:
    """Return the frame of a record."""
    data = record.encode()
    return _HEAD.pack(MAGIC, len(data), _digest(data)) + data


def unframed(data: bytes) -> Iterator[ExampleRecord | Broken]:
    """Yield the records of a segment in order, and at last what is wrong with it, if something is."""
    at = 0
    while at < len(data):
        rest = memoryview(data)[at:]
        if len(rest) < _HEAD.size:
            yield Broken(at=at, reason="torn")
            return
        magic, length, digest = _HEAD.unpack_from(rest)
        if magic != MAGIC:
            yield Broken(at=at, reason="damaged")
            return
        if length > len(rest) - _HEAD.size:
            yield Broken(at=at, reason="torn")
            return
        body = bytes(rest[_HEAD.size : _HEAD.size + length])
        try:
            record = ExampleRecord.decode(body) if _digest(body) == digest else None
        except CodecError:
            record = None
        if record is None:
            yield Broken(at=at, reason="damaged")
            return
        yield record
        at += _HEAD.size + length


def _digest(data: bytes) -> bytes:
    head = MAGIC + struct.pack("<I", len(data))
    return hashlib.blake2b(head + data, digest_size=16).digest()
