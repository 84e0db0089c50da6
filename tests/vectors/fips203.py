"""ML-KEM-768 as FIPS 203 writes it, in plain Python: a second opinion, whose encapsulation takes its randomness.

Slow, and not safe against whoever measures its time: for vectors alone.
"""

import hashlib

Q, N, K = 3_329, 256, 3
ROOT = 17
Polynomial = list[int]


def _reversed(value: int) -> int:
    return int(f"{value:07b}"[::-1], 2)


ZETAS = [pow(ROOT, _reversed(i), Q) for i in range(128)]
GAMMAS = [pow(ROOT, 2 * _reversed(i) + 1, Q) for i in range(128)]


def _g(data: bytes) -> tuple[bytes, bytes]:
    found = hashlib.sha3_512(data).digest()
    return found[:32], found[32:]


def _h(data: bytes) -> bytes:
    return hashlib.sha3_256(data).digest()


def encoded(values: Polynomial, width: int) -> bytes:
    """ByteEncode, algorithm 5."""
    return sum(value << (width * at) for at, value in enumerate(values)).to_bytes(32 * width, "little")


def decoded(data: bytes, width: int) -> Polynomial:
    """ByteDecode, algorithm 6."""
    number = int.from_bytes(data, "little")
    return [number >> (width * at) & ((1 << width) - 1) for at in range(N)]


def _compressed(values: Polynomial, width: int) -> Polynomial:
    return [((value << width) + Q // 2) // Q % (1 << width) for value in values]


def _decompressed(values: Polynomial, width: int) -> Polynomial:
    return [(value * Q + (1 << (width - 1))) >> width for value in values]


def _uniform(seed: bytes) -> Polynomial:
    """SampleNTT, algorithm 7."""
    stream, found = hashlib.shake_128(seed).digest(3 * 1_024), []
    for a, b, c in zip(*(iter(stream),) * 3, strict=True):
        found += [value for value in (a + 256 * (b % 16), b // 16 + 16 * c) if value < Q]
    return found[:N]


def _small(seed: bytes, number: int) -> Polynomial:
    """SamplePolyCBD with eta = 2, algorithm 8, of PRF(seed, number)."""
    bits = int.from_bytes(hashlib.shake_256(seed + bytes([number])).digest(128), "little")
    nibbles = [bits >> (4 * at) & 15 for at in range(N)]
    return [((n & 1) + (n >> 1 & 1) - (n >> 2 & 1) - (n >> 3 & 1)) % Q for n in nibbles]


def _ntt(values: Polynomial) -> Polynomial:
    f, i, length = list(values), 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length], f[j] = (f[j] - t) % Q, (f[j] + t) % Q
        length //= 2
    return f


def _back(values: Polynomial) -> Polynomial:
    f, i, length = list(values), 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + length):
                t = f[j]
                f[j], f[j + length] = (t + f[j + length]) % Q, zeta * (f[j + length] - t) % Q
        length *= 2
    return [value * 3_303 % Q for value in f]


def _product(f: Polynomial, g: Polynomial) -> Polynomial:
    found = []
    for i in range(128):
        a, b, c, d = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        found += [(a * c + b * d * GAMMAS[i]) % Q, (a * d + b * c) % Q]
    return found


def _sum(*rows: Polynomial) -> Polynomial:
    return [sum(column) % Q for column in zip(*rows, strict=True)]


def encapsulation_key(seed: bytes) -> bytes:
    """ML-KEM.KeyGen_internal, algorithm 16: the public key of a seed d || z of 64 bytes."""
    rho, sigma = _g(seed[:32] + bytes([K]))
    s = [_ntt(_small(sigma, at)) for at in range(K)]
    e = [_ntt(_small(sigma, K + at)) for at in range(K)]
    rows = ([_product(_uniform(rho + bytes([j, i])), s[j]) for j in range(K)] for i in range(K))
    return b"".join(encoded(_sum(*row, e[i]), 12) for i, row in enumerate(rows)) + rho


def encapsulated(public: bytes, message: bytes) -> tuple[bytes, bytes]:
    """ML-KEM.Encaps_internal, algorithm 17: the shared secret and the ciphertext of 32 random bytes."""
    shared, r = _g(message + _h(public))
    rho, t = public[384 * K :], [decoded(public[384 * at : 384 * (at + 1)], 12) for at in range(K)]
    y = [_ntt(_small(r, at)) for at in range(K)]
    columns = ([_product(_uniform(rho + bytes([i, j])), y[j]) for j in range(K)] for i in range(K))
    u = [_sum(_back(_sum(*column)), _small(r, K + i)) for i, column in enumerate(columns)]
    bits = _decompressed(decoded(message, 1), 1)
    v = _sum(_back(_sum(*(_product(t[at], y[at]) for at in range(K)))), _small(r, 2 * K), bits)
    return shared, b"".join(encoded(_compressed(row, 10), 10) for row in u) + encoded(_compressed(v, 4), 4)
