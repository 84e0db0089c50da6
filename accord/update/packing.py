"""Integers of m bits, packed without gaps, least significant bit first; the last byte is filled with zero bits."""

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError

Ring = npt.NDArray[np.uint32]


def packed_size(length: int, bits: int) -> int:
    """Return the bytes that `length` values of `bits` bits take."""
    return -(-length * bits // 8)


def _pair_bytes(even: Ring, odd: Ring, bits: int) -> npt.NDArray[np.uint8]:
    """Two values of 12 or 20 bits fill 3 or 5 bytes."""
    joined = even.astype("<u8") | (odd.astype("<u8") << np.uint64(bits))
    octets: npt.NDArray[np.uint8] = joined.view(np.uint8).reshape(-1, 8)[:, : bits // 4]
    return octets


def pack(values: Ring, bits: int) -> bytes:
    """Pack uint32 values of shape (n,), each taken modulo 2^bits, for `bits` from 1 to 32."""
    low = values if bits == 32 else values & np.uint32((1 << bits) - 1)
    low = low.astype("<u4", copy=False)
    if bits in (8, 16, 32):
        return low.astype(f"<u{bits // 8}").tobytes()
    if bits == 24:
        return np.ascontiguousarray(low).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    if bits in (12, 20):
        even = low[0::2]
        odd = np.zeros_like(even)
        odd[: low.size // 2] = low[1::2]
        return _pair_bytes(even, odd, bits).tobytes()[: packed_size(low.size, bits)]
    ones = np.unpackbits(np.ascontiguousarray(low).view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    return np.packbits(ones[:, :bits].ravel(), bitorder="little").tobytes()


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
    if bits == 24:
        wide = np.zeros((length, 4), np.uint8)
        wide[:, :3] = raw.reshape(-1, 3)
        return wide.view("<u4").ravel().astype(np.uint32)
    if bits in (12, 20):
        pairs = -(-length // 2)
        joined = np.zeros((pairs, 8), np.uint8)
        filled = np.zeros(pairs * bits // 4, np.uint8)
        filled[: raw.size] = raw
        joined[:, : bits // 4] = filled.reshape(pairs, bits // 4)
        wide64 = joined.view("<u8").ravel()
        values = np.empty(pairs * 2, np.uint32)
        values[0::2] = wide64 & np.uint64((1 << bits) - 1)
        values[1::2] = wide64 >> np.uint64(bits)
        return values[:length]
    ones = np.unpackbits(raw, count=length * bits, bitorder="little").reshape(length, bits)
    wide_bits = np.zeros((length, 32), np.uint8)
    wide_bits[:, :bits] = ones
    return np.packbits(wide_bits, axis=1, bitorder="little").view("<u4").ravel().astype(np.uint32)
