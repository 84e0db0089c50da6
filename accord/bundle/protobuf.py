"""Protobuf messages as (field number, wire type, content), read and written without a schema. Knows no ONNX."""

from collections.abc import Iterator

from accord.errors import Refusal

VARINT, WIDE, BYTES, NARROW = 0, 1, 2, 5
_SIZES = {WIDE: 8, NARROW: 4}


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a number and the position behind it.

    Raises:
        Refusal: `CorruptGraph`: the data ends first, or the number has more than 10 bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise Refusal("CorruptGraph", "the graph ends in the middle of a number")


def read_fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield (field number, wire type, content) of one message; a number's content is its encoding.

    Raises:
        Refusal: `CorruptGraph`: a length points beyond the data, or a wire type is unknown.
    """
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == BYTES:
            size, at = read_varint(data, at)
        elif kind == VARINT:
            size = read_varint(data, at)[1] - at
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise Refusal("CorruptGraph", f"the graph uses protobuf wire type {kind}")
        if at + size > len(data):
            raise Refusal("CorruptGraph", f"a field of the graph claims {size} bytes that are not there")
        yield key >> 3, kind, data[at : at + size]
        at += size


def write_varint(value: int) -> bytes:
    """Return the encoding of a number from 0, the content of a `VARINT` field."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_field(number: int, kind: int, content: bytes | memoryview) -> bytes:
    """Return the encoding of one field that `read_fields` would yield."""
    head = write_varint(number << 3 | kind)
    return head + (write_varint(len(content)) if kind == BYTES else b"") + bytes(content)
