"""The protocol's arithmetic written a second time, from its definitions: slow, short, and sharing no code with it.

CBOR by hand (RFC 8949, section 4.2.1), ChaCha20 block by block (RFC 8439, section 2.3), GF(2^8) by long
multiplication (FIPS 197, section 4.2), X25519 and ChaCha20-Poly1305 of another library.
"""

import hashlib
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

WORD = 0xFFFFFFFF


def cbor(value: Any) -> bytes:
    """Return the deterministic encoding of nested lists of integers, bytes and text."""
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    return _head(4, len(value)) + b"".join(cbor(item) for item in value)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    width = next(at for at in range(4) if number < 1 << (8 << at))
    return bytes([major << 5 | 24 + width]) + number.to_bytes(1 << width, "big")


def digest(data: bytes) -> bytes:
    """Return BLAKE2b-256."""
    return hashlib.blake2b(data, digest_size=32).digest()


def kdf(secret: bytes, label: Sequence[Any]) -> bytes:
    """Return the key of one use."""
    return hashlib.blake2b(cbor(label), key=secret, digest_size=32, person=b"accord/1/kdf").digest()


def keystream(key: bytes, size: int) -> bytes:
    """Return ChaCha20 with a nonce of zeros, from block 1."""
    blocks = [_block(key, number) for number in range(1, 2 + size // 64)]
    return b"".join(blocks)[:size]


def _block(key: bytes, number: int) -> bytes:
    start = [*struct.unpack("<4L", b"expand 32-byte k"), *struct.unpack("<8L", key), number, 0, 0, 0]
    x = list(start)
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            _quarter(x, a, b, c, d)
        for a, b, c, d in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            _quarter(x, a, b, c, d)
    return struct.pack("<16L", *((one + other) & WORD for one, other in zip(x, start, strict=True)))


def _quarter(x: list[int], a: int, b: int, c: int, d: int) -> None:
    for one, two, three, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[one] = (x[one] + x[two]) & WORD
        turned = x[three] ^ x[one]
        x[three] = (turned << turn | turned >> (32 - turn)) & WORD


def mask(seed: bytes, length: int, bits: int) -> list[int]:
    """Return the mask of a seed."""
    width = 2 if bits <= 16 else 4
    stream = keystream(seed, width * length)
    return [int.from_bytes(stream[at : at + width], "little") for at in range(0, len(stream), width)]


def packed(values: Sequence[int], bits: int) -> bytes:
    """Return integers without gaps, least significant bit first."""
    number = sum((value % (1 << bits)) << (bits * at) for at, value in enumerate(values))
    return number.to_bytes(-(-len(values) * bits // 8), "little")


def times(a: int, b: int) -> int:
    """Return the product in GF(2^8)."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a, b = (a << 1) ^ (0x11B * (a >> 7)), b >> 1
    return product


def share(secret: bytes, coefficients: bytes, position: int) -> bytes:
    """Return the share at a roster position: the polynomial's value at position + 1."""
    x, size = position + 1, len(secret)
    value = bytes(size)
    for at in range(len(coefficients) - size, -1, -size):
        value = bytes(times(v ^ c, x) for v, c in zip(value, coefficients[at : at + size], strict=True))
    return bytes(v ^ s for v, s in zip(value, secret, strict=True))


def opened(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret by Lagrange's formula at 0."""
    total = bytes(len(next(iter(shares.values()))))
    for at, data in shares.items():
        weight = 1
        for other in shares:
            if other != at:
                inverse = next(i for i in range(256) if times((at + 1) ^ (other + 1), i) == 1)
                weight = times(weight, times(other + 1, inverse))
        total = bytes(t ^ times(weight, d) for t, d in zip(total, data, strict=True))
    return total


def shared(secret: bytes, public: bytes) -> bytes:
    """Return the X25519 shared secret."""
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))


def public_of(secret: bytes) -> bytes:
    """Return the X25519 public key."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the tree head of RFC 6962, level by level: an odd one out goes up as it is."""
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0] if level else hashlib.sha256(b"").digest()


def laid(sizes: Sequence[int], case: Mapping[str, Any], top: int) -> list[int]:
    """Return the integers that one device's open update stands for, one parameter after another."""
    data, one, bits = bytes.fromhex(case["sent"]), case["kind"] == "ternary", case["bits"]
    count, long = (int.from_bytes(data[at : at + 4], "little") for at in (1, 5))
    steps = [int.from_bytes(data[9 + 4 * at : 13 + 4 * at], "little") for at in range(1 if one else len(sizes))]
    at = 9 + 4 * len(steps)
    gaps, rest = data[at : at + long], data[at + long :]
    gaps = zlib.decompress(gaps) if data[0] & 1 else gaps
    stream = zlib.decompressobj()
    numbers = int.from_bytes(stream.decompress(rest) if data[0] & 2 else rest[: -(-count * bits // 8)], "little")
    assert len(gaps) == count, "no gap is longer than a byte here"
    found, place = [0] * sum(sizes), -1
    for order, gap in enumerate(gaps):
        place += gap + 1
        value = numbers >> order * bits & (1 << bits) - 1
        value = 2 * value - 1 if bits == 1 else value - (value >> bits - 1 << bits)
        tensor = sum(place >= sum(sizes[: end + 1]) for end in range(len(sizes)))
        unit = Fraction(steps[0 if one else tensor])
        if one:
            unit = Fraction(
                math.floor(unit / 2**16 * 2 ** (max(case["exponents"]) - case["exponents"][tensor]) + Fraction(1, 2))
            )
        found[place] = int(max(-top, min(top, value * unit)))
    return found


def stepped(base: bytes, shapes: Sequence[Sequence[int]], delta: Mapping[str, Any]) -> bytes:
    """Return the version that a delta leads to: every parameter by itself, in exact fractions."""
    size = sum(math.prod(shape) for shape in shapes)
    params = list(struct.unpack(f"<{size}f", base[: 4 * size]))
    for one in delta["advances"]:
        params = _advanced(params, shapes, one)
    return struct.pack(f"<{size}f", *params) + (delta["scaling"] or base[4 * size :])


def _advanced(old: Sequence[float], shapes: Sequence[Sequence[int]], one: Mapping[str, Any]) -> list[float]:
    places, support, at, new = one["places"], one["support"], 0, list[float]()
    listed = set(range(-(-len(old) // 64))) if one["rank"] else set()
    if places and places[0]:
        listed = {sum(gap + 1 for gap in places[1:end]) - 1 for end in range(2, len(places) + 1)}
    elif places:
        listed = {place for place in range(8 * (len(places) - 1)) if places[1 + place // 8] >> place % 8 & 1}
    values = zlib.decompress(one["values"]) if one["deflated"] else one["values"]
    for shape, grid, shift, width in zip(shapes, one["grid"], one["shifts"], one["widths"], strict=True):
        size, rank = math.prod(shape), one["rank"]
        mine = [at for at in range(len(new), len(new) + size) if at // 64 in listed]
        rows, columns = shape[0], math.prod(shape[1:])
        matrix = rank and 2 * rank * max(rows, columns) <= rows * columns
        side = support[0] if matrix else 0
        count = rank * (columns if side else rows) if matrix else len(mine)
        if one["deflated"]:
            ranks = -(-width // 8)
            numbers = [sum(values[at + r * count + k] << 8 * r for r in range(ranks)) for k in range(count)]
            at += ranks * count
        else:
            bits = int.from_bytes(values[at : at + -(-count * width // 8)], "little")
            numbers = [bits >> k * width & (1 << width) - 1 for k in range(count)]
            at += -(-count * width // 8)
        signed = [n // 2 if n % 2 == 0 else -(n + 1) // 2 for n in numbers]
        if matrix:
            end = 1 + rank + rank * (rows if side else columns)
            entries = [byte - 256 * (byte > 127) for byte in support[1 + rank : end]]
            support = support[end:]
            steps = [
                sum(
                    entries[i * rank + k] * signed[k * columns + j]
                    if side
                    else signed[i * rank + k] * entries[j * rank + k]
                    for k in range(rank)
                )
                for i in range(rows)
                for j in range(columns)
            ]
        else:
            moved = dict(zip(mine, signed, strict=True))
            steps = [moved.get(place, 0) for place in range(len(new), len(new) + size)]
        unit = Fraction(2) ** grid
        for step in steps:
            new.append(float((round(Fraction(old[len(new)]) / unit) + round(step * Fraction(2) ** shift)) * unit))
    return new
