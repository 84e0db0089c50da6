"""Integers of m bits, packed without gaps, least significant bit first; the last byte is filled with zero bits.

Eight values of m bits fill m bytes, whatever m is. So they are joined in pairs of 2m bits, which fit a 64-bit word, and
the four pairs are laid over the words of their m bytes: a few operations on whole arrays for any width.
"""

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError

Ring = npt.NDArray[np.uint32]
_GROUP = 8
_WORDS = 5
"""64-bit words under one group: 32 bytes at most, and one that the last pair may reach into."""
_PIECE = 1 << 15
"""Values that are packed at once: what they are laid out in stays in the processor's cache."""


def packed_size(length: int, bits: int) -> int:
    """Return the bytes that `length` values of `bits` bits take."""
    return -(-length * bits // 8)


def pack(values: Ring, bits: int) -> bytes:
    """Pack uint32 values of shape (n,), each taken modulo 2^bits, for `bits` from 1 to 32."""
    if bits in (8, 16, 32):
        return values.astype(f"<u{bits // 8}", copy=False).tobytes()  # which keeps the low bits
    packed = np.empty(-(-values.size // _GROUP) * bits, np.uint8)
    for at in range(0, values.size, _PIECE):
        piece = values[at : at + _PIECE]
        groups = -(-piece.size // _GROUP)
        if piece.size % _GROUP:
            piece = np.concatenate([piece, np.zeros(-piece.size % _GROUP, np.uint32)])
        first = at // _GROUP * bits
        _pack_groups(piece, bits, packed[first : first + groups * bits].reshape(groups, bits))
    return packed[: packed_size(values.size, bits)].tobytes()


def unpack(data: bytes, length: int, bits: int) -> Ring:
    """Unpack `length` values of `bits` bits into a new uint32 array of shape (length,).

    Raises:
        CodecError: another number of bytes, or fill bits that are not zero.
    """
    if len(data) != packed_size(length, bits):
        raise CodecError(f"{length} values of {bits} bits take {packed_size(length, bits)} bytes, not {len(data)}")
    spare = len(data) * 8 - length * bits
    if spare and data[-1] >> (8 - spare):
        raise CodecError("the fill bits behind the last value are not zero")
    raw = np.frombuffer(data, np.uint8)
    if bits in (8, 16, 32):
        return raw.view(f"<u{bits // 8}").astype(np.uint32)
    values = np.empty(-(-length // _GROUP) * _GROUP, np.uint32)
    for at in range(0, length, _PIECE):
        groups = min(_PIECE // _GROUP, (values.size - at) // _GROUP)
        first = at // _GROUP * bits
        part = raw[first : first + groups * bits]
        if part.size < groups * bits:
            part = np.concatenate([part, np.zeros(groups * bits - part.size, np.uint8)])
        _unpack_groups(part.reshape(groups, bits), bits, values[at : at + groups * _GROUP])
    return values[:length]


def _units(bits: int) -> np.dtype[np.unsignedinteger]:
    """Return the widest type in whose steps m bytes can be copied."""
    return np.dtype("<u4") if bits % 4 == 0 else np.dtype("<u2") if bits % 2 == 0 else np.dtype("u1")


def _pack_groups(values: Ring, bits: int, out: npt.NDArray[np.uint8]) -> None:
    """Pack values, a multiple of eight, into rows of m bytes: `out` has shape (groups, m)."""
    low = np.uint32((1 << bits) - 1)
    pairs = (values[1::2] & low).astype(np.uint64)
    pairs <<= np.uint64(bits)
    pairs |= values[0::2] & low
    words = np.zeros((_WORDS, len(out)), "<u8")
    for place in range(4):
        pair = pairs[place::4]
        word, shift = divmod(2 * bits * place, 64)
        words[word] |= pair << np.uint64(shift)
        if shift + 2 * bits > 64:
            words[word + 1] |= pair >> np.uint64(64 - shift)
    unit = _units(bits)
    laid = np.ascontiguousarray(words.T).view(unit)
    out.view(unit)[:] = laid[:, : bits // unit.itemsize]


def _unpack_groups(rows: npt.NDArray[np.uint8], bits: int, out: Ring) -> None:
    """Unpack rows of m bytes, shape (groups, m), into `out`, uint32 of shape (groups * 8,)."""
    unit = _units(bits)
    laid = np.zeros((len(rows), _WORDS), "<u8")
    laid.view(unit)[:, : bits // unit.itemsize] = rows.view(unit)
    words = np.ascontiguousarray(laid.T)
    low = np.uint64((1 << bits) - 1)
    for place in range(4):
        word, shift = divmod(2 * bits * place, 64)
        pair = words[word] >> np.uint64(shift)
        if shift + 2 * bits > 64:
            pair |= words[word + 1] << np.uint64(64 - shift)
        out[2 * place :: _GROUP] = pair & low
        out[2 * place + 1 :: _GROUP] = (pair >> np.uint64(bits)) & low
