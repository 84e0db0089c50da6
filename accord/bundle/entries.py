"""Named byte strings as one zip file of a single possible form: stored, dated 1980, no extras. Knows no bundle.

Any zip tool opens the file. This reader takes nothing that this writer would not write, byte for byte, so nothing is
inflated, no two tools can disagree about what is inside, and a digest of the file is a digest of the entries.
See docs/protocol.md, section 13.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence

from accord.errors import LocalProtocolError, Refusal

# Both headers share: version 2.0, no flags, method 0 (stored), 00:00 on 1 January 1980.
_SHARED = struct.Struct("<5H3L2H")
_FIXED = (20, 0, 0, 0, 0x0021)
_LOCAL_MAGIC = b"PK\x03\x04"
_CENTRAL_MAGIC = b"PK\x01\x02"
_CENTRAL_TAIL = struct.Struct("<3H2L")
_END = struct.Struct("<4s4H2LH")
_MADE_BY = struct.pack("<H", 20 | 3 << 8)
_ATTRIBUTES = 0o100644 << 16
_LOCAL_SIZE = len(_LOCAL_MAGIC) + _SHARED.size
_LARGEST_FILE = 2**32 - 1
_MAX_NAME = 64


def write_entries(entries: Mapping[str, bytes]) -> bytes:
    """Return the zip file with `entries` in their order.

    Raises:
        LocalProtocolError: the file would pass 4 GiB.
    """
    if sum(len(data) for data in entries.values()) > _LARGEST_FILE - 65_536:
        raise LocalProtocolError("a zip file without extensions holds less than 4 GiB")
    body, directory, offset = [], [], 0
    for name, data in entries.items():
        encoded = name.encode("ascii")
        shared = _SHARED.pack(*_FIXED, zlib.crc32(data), len(data), len(data), len(encoded), 0)
        body += [_LOCAL_MAGIC, shared, encoded, data]
        directory += [_CENTRAL_MAGIC, _MADE_BY, shared, _CENTRAL_TAIL.pack(0, 0, 0, _ATTRIBUTES, offset), encoded]
        offset += _LOCAL_SIZE + len(encoded) + len(data)
    central = b"".join(directory)
    end = _END.pack(b"PK\x05\x06", 0, 0, len(entries), len(entries), len(central), offset, 0)
    return b"".join([*body, central, end])


def read_entries(data: bytes, allowed: Sequence[str]) -> dict[str, bytes]:
    """Return the entries of a file that `write_entries` wrote.

    Args:
        data: bytes from anywhere; the caller has bounded their number.
        allowed: the names that may occur.

    Raises:
        Refusal: `CorruptBundle`, `CompressedEntry`, `UnknownEntry` or `RepeatedEntry`.
    """
    entries: dict[str, bytes] = {}
    at = 0
    while data[at : at + 4] == _LOCAL_MAGIC:
        if at + _LOCAL_SIZE > len(data):
            raise Refusal("CorruptBundle", "the file ends in the middle of an entry's header")
        *fixed, _crc, packed, size, name_size, _extra = _SHARED.unpack_from(data, at + 4)
        if fixed[2] != 0:
            raise Refusal("CompressedEntry", "entries of a bundle are stored, not compressed")
        at += _LOCAL_SIZE
        if packed != size or name_size > _MAX_NAME or at + name_size + size > len(data):
            raise Refusal("CorruptBundle", f"an entry claims {size} bytes where {max(0, len(data) - at)} are left")
        name = data[at : at + name_size].decode("ascii", "replace")
        if name not in allowed:
            raise Refusal("UnknownEntry", f"a bundle has no entry {name!r}")
        if name in entries:
            raise Refusal("RepeatedEntry", f"entry {name!r} occurs twice")
        at += name_size
        entries[name] = data[at : at + size]
        at += size
    if not entries or write_entries(entries) != data:
        raise Refusal("CorruptBundle", "these are not the bytes of a bundle that `accord quantize` wrote")
    return entries
