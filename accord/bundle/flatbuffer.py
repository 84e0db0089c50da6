"""FlatBuffers tables read from hostile bytes: every offset is checked before it is followed. Knows no TFLite.

The layout is that of flatbuffers.dev/internals: a table begins with the distance back to its vtable, which says where
each field lies; strings, vectors and tables are reached by offsets forward.
"""

import struct
from collections.abc import Sequence
from typing import Any

from accord.errors import Refusal

_SIZES = {"b": 1, "B": 1, "?": 1, "i": 4, "I": 4, "f": 4, "Q": 8}
MAX_ELEMENTS = 1 << 20
"""Of all vectors of offsets together: tables may be shared, and a few bytes could otherwise stand for endless work."""


class Buffer:
    """The bytes of one file, and how much of the work that it may cost has been done."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self._left = MAX_ELEMENTS

    def read(self, kind: str, at: int) -> Any:
        """Return the number of kind `kind` (a letter of `struct`) at `at`.

        Raises:
            Refusal: `CorruptGraph`: it lies outside the file.
        """
        self.within(at, struct.calcsize(kind))
        return struct.unpack_from(f"<{kind}", self.data, at)[0]

    def within(self, at: int, size: int) -> None:
        """Refuse a range that is not wholly in the file."""
        if at < 0 or at + size > len(self.data):
            raise Refusal("CorruptGraph", f"train.tflite points to {size} bytes at {at}, which are not there")

    def spend(self, elements: int) -> None:
        """Refuse a file whose vectors of tables have too many elements."""
        self._left -= elements
        if self._left < 0:
            raise Refusal("CorruptGraph", f"train.tflite has vectors of more than {MAX_ELEMENTS} tables")

    def root(self, identifier: bytes) -> "Table":
        """Return the table that the file begins with.

        Raises:
            Refusal: `CorruptGraph`: the file is not of this kind.
        """
        if bytes(self.data[4:8]) != identifier:
            raise Refusal("CorruptGraph", f"train.tflite does not begin as a file of kind {identifier.decode()}")
        return Table(self, self.read("I", 0))


class Table:
    """One table; fields are known by their numbers, and one that is absent has its default.

    Raises:
        Refusal: `CorruptGraph`: here and in every method, for offsets out of the file.
    """

    def __init__(self, buffer: Buffer, at: int) -> None:
        self._buffer, self._at = buffer, at
        entries = at - buffer.read("i", at)
        size, self._size = buffer.read("H", entries), buffer.read("H", entries + 2)
        if size < 4 or size % 2 or self._size < 4:
            raise Refusal("CorruptGraph", f"train.tflite has a table at {at} of an impossible size")
        buffer.within(entries, size)
        buffer.within(at, self._size)
        self._fields = struct.unpack_from(f"<{size // 2 - 2}H", buffer.data, entries + 4)

    def present(self) -> set[int]:
        """Return the numbers of the fields that are there."""
        return {number for number, offset in enumerate(self._fields) if offset}

    def number(self, field: int, kind: str, default: Any = 0) -> Any:
        """Return a field that is a number."""
        place = self._place(field, _SIZES[kind])
        return default if place is None else self._buffer.read(kind, place)

    def raw(self, field: int) -> memoryview:
        """Return a field that is a string or a vector of bytes; empty if absent."""
        return self._vector(field, 1)[0]

    def numbers(self, field: int, kind: str = "i") -> Sequence[Any]:
        """Return a field that is a vector of numbers; empty if absent."""
        content, count = self._vector(field, _SIZES[kind])
        return struct.unpack(f"<{count}{kind}", content)

    def table(self, field: int) -> "Table | None":
        """Return a field that is a table."""
        place = self._place(field, 4)
        return None if place is None else Table(self._buffer, place + self._buffer.read("I", place))

    def tables(self, field: int) -> "list[Table]":
        """Return a field that is a vector of tables; empty if absent."""
        content, count = self._vector(field, 4)
        if not count:
            return []
        self._buffer.spend(count)
        start = self._start(field) + 4
        offsets = struct.unpack(f"<{count}I", content)
        return [Table(self._buffer, start + 4 * place + offset) for place, offset in enumerate(offsets)]

    def _place(self, field: int, size: int) -> int | None:
        offset = self._fields[field] if field < len(self._fields) else 0
        if not offset:
            return None
        if offset < 4 or offset + size > self._size:
            raise Refusal("CorruptGraph", f"field {field} of a table of train.tflite lies outside the table")
        return self._at + int(offset)

    def _start(self, field: int) -> int:
        place = self._place(field, 4)
        assert place is not None
        return place + int(self._buffer.read("I", place))

    def _vector(self, field: int, size: int) -> tuple[memoryview, int]:
        if self._place(field, 4) is None:
            return memoryview(b""), 0
        start = self._start(field)
        count = int(self._buffer.read("I", start))
        self._buffer.within(start + 4, count * size)
        return self._buffer.data[start + 4 : start + 4 + count * size], count
