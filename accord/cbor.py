"""Strict deterministic CBOR (RFC 8949, section 4.2.1) over a closed set of types.

Allowed: null, booleans, integers of 64 bits, byte strings, UTF-8 text, arrays, and maps with text keys. Not allowed:
floats, tags, `undefined`, indefinite lengths, unsorted or repeated keys, long forms of short numbers, bytes left over.
A value has one encoding, so a signature over bytes is a signature over the value. See docs/protocol.md, section 2.
"""

from collections.abc import Sequence
from typing import Any

import cbor2

from accord.errors import CodecError, LocalProtocolError

MAX_DEPTH = 16
"""Nesting that a decoder accepts: the deepest message of the protocol uses 6."""

MAX_ITEMS = 100_000
"""Items (heads) in one encoding: a roster of 255 devices has about 2,000."""

_LEAST = (24, 1 << 8, 1 << 16, 1 << 32)
"""The least number that is written with 1, 2, 4 or 8 bytes behind its head."""

_TYPES = (bool, int, bytes, str, type(None))


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise LocalProtocolError(f"a value nests deeper than {MAX_DEPTH} levels")
    kind = type(value)
    if kind in _TYPES:
        if kind is int and not -(2**63) <= value < 2**64:
            raise LocalProtocolError(f"integer {value} does not fit 64 bits")
    elif kind in (list, tuple):
        for item in value:
            _check(item, depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise LocalProtocolError(f"map key {key!r} is not text")
            _check(item, depth + 1)
    else:
        raise LocalProtocolError(f"a {kind.__name__} can't be encoded; use null, bool, int, bytes, str, list or dict")


def encode(value: Any) -> bytes:
    """Return the one encoding of `value`.

    Raises:
        LocalProtocolError: the value has a type, a depth or a number outside the closed set.
    """
    _check(value, 0)
    return cbor2.dumps(value, canonical=True)


def encode_checked(value: Any) -> bytes:
    """Return the one encoding of a value whose parts the caller has checked, as records do at birth."""
    return cbor2.dumps(value, canonical=True)


def array(items: Sequence[bytes]) -> bytes:
    """Return the encoding of an array whose items' encodings are given."""
    count = len(items)
    if count < _LEAST[0]:
        head = bytes((0x80 | count,))
    else:
        power = next(at for at in (0, 1, 2, 3) if at == 3 or count < _LEAST[at + 1])
        head = bytes((0x98 + power,)) + count.to_bytes(1 << power, "big")
    return head + b"".join(items)


def _scan(data: bytes) -> bool:  # noqa: C901, PLR0912 - one loop: every letter of a fleet goes through it
    """Walk over the heads: every length is checked against the bytes that are there before anything is built.

    Returns:
        Whether there is a map, whose keys must still be looked at.
    """
    at, items, size, maps = 0, 0, len(data), False
    left = 1
    above: list[int] = []
    while True:
        if left == 0:
            if not above:
                break
            left = above.pop()
            continue
        left -= 1
        items += 1
        if items > MAX_ITEMS:
            raise CodecError(f"more than {MAX_ITEMS} items")
        if at >= size:
            raise CodecError("the encoding ends in the middle of a value")
        first = data[at]
        major, argument = first >> 5, first & 31
        at += 1
        if argument >= 24:
            if argument > 27:
                raise CodecError("indefinite lengths and reserved heads are not allowed")
            width = 1 << (argument - 24)
            if at + width > size:
                raise CodecError("the encoding ends in the middle of a number")
            least = _LEAST[argument - 24]
            argument = int.from_bytes(data[at : at + width], "big")
            if argument < least:
                raise CodecError("a number is written longer than it need be")
            at += width
        if major in (2, 3):
            if argument > size - at:
                raise CodecError(f"a string claims {argument} bytes where {size - at} are left")
            at += argument
        elif major in (4, 5):
            count = argument * (major - 3)
            if count > size - at:
                raise CodecError(f"a container claims {argument} entries where {size - at} bytes are left")
            if len(above) >= MAX_DEPTH:
                raise CodecError(f"nested deeper than {MAX_DEPTH} levels")
            maps = maps or major == 5
            above.append(left)
            left = count
        elif major == 6 or (major == 7 and argument not in (20, 21, 22)):
            raise CodecError("tags, floats and undefined are not allowed")
        elif major == 1 and argument >= 2**63:
            raise CodecError("a negative number does not fit 64 bits")
    if at != size:
        raise CodecError(f"{size - at} bytes are left over")
    return maps


def decode(data: bytes, limit: int) -> Any:
    """Return the value of `data`.

    Args:
        data: bytes from anywhere.
        limit: the largest size in bytes that the caller expects; checked first.

    Raises:
        CodecError: too large, or not the one encoding of a value of the closed set.
    """
    if len(data) > limit:
        raise CodecError(f"{len(data)} bytes where at most {limit} are allowed")
    maps = _scan(data)
    try:
        value = cbor2.loads(data)
        if not maps:  # with its heads as short as can be, it is the only encoding of the value
            return value
        _check(value, 0)
        same = cbor2.dumps(value, canonical=True) == data
    except (cbor2.CBORDecodeError, LocalProtocolError, UnicodeDecodeError, ValueError) as error:
        raise CodecError(f"not valid CBOR: {error}") from error
    if not same:
        raise CodecError("not the deterministic encoding: keys are unsorted or repeated")
    return value
