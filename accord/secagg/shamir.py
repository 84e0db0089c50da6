"""Shamir's secret sharing, bytewise over GF(2^8) with the polynomial 0x11b (FIPS 197), in NumPy tables.

Share i is the value at x = i + 1, where i is the holder's rank among its dealer's holders: an index is never read from
a message.
See docs/protocol.md, section 7.4.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import LocalProtocolError

MAX_SHARES = 255
Bytes = npt.NDArray[np.uint8]


def _tables() -> tuple[npt.NDArray[np.int64], Bytes]:
    exp = np.zeros(512, np.uint8)
    log = np.zeros(256, np.int64)
    value = 1
    for power in range(255):
        exp[power] = value
        log[value] = power
        doubled = value << 1
        value ^= doubled ^ (0x11B if doubled & 0x100 else 0)  # times 3, a generator
    exp[255:510] = exp[:255]
    return log, exp


_LOG, _EXP = _tables()


def _product_table() -> Bytes:
    table: Bytes = _EXP[_LOG[:, None] + _LOG[None, :]].copy()
    table[0, :] = 0
    table[:, 0] = 0
    return table


PRODUCT = _product_table()
"""PRODUCT[a, b] = a·b in GF(2^8)."""
_FLAT = PRODUCT.ravel()
"""The product of a and b stands at 256·a + b: one index is looked up in half the time of two."""


def split(secret: bytes, shares: int, threshold: int, entropy: Entropy) -> list[bytes]:
    """Split `secret` into `shares` shares of its size, any `threshold` of which give it back.

    Args:
        secret: any number of bytes.
        shares: 1 to 255.
        threshold: 1 to `shares`.
        entropy: (threshold - 1) * len(secret) bytes are drawn.

    Raises:
        LocalProtocolError: a number is out of its range.
    """
    if not 1 <= threshold <= shares <= MAX_SHARES:
        raise LocalProtocolError(f"{threshold} of {shares} shares can't be made: 1 <= t <= n <= {MAX_SHARES}")
    size = len(secret)
    drawn = np.frombuffer(entropy((threshold - 1) * size), np.uint8).reshape(threshold - 1, size)
    points = np.arange(1, shares + 1)
    rows = points[:, None] << 8
    values = np.zeros((shares, size), np.uint8)
    for coefficient in drawn[::-1]:  # Horner's rule, all shares at once
        values = _FLAT.take(rows | (values ^ coefficient))
    values ^= np.frombuffer(secret, np.uint8)
    return [row.tobytes() for row in values]


def combine_all(positions: Sequence[Sequence[int]], shares: Sequence[bytes]) -> list[bytes]:
    """Return many secrets at once, each from t shares.

    Args:
        positions: for each secret the t positions of its shares among its holders, from 0.
        shares: the shares of the first secret in that order, then those of the second, and so on; all of one size.

    Raises:
        LocalProtocolError: a position is repeated or out of its range.
    """
    if not positions:
        return []
    rows = np.frombuffer(b"".join(shares), np.uint8).reshape(len(positions), len(positions[0]), -1)
    distinct = list(dict.fromkeys(map(tuple, positions)))  # on a complete graph all dealers have the same holders
    known = dict(zip(distinct, lagrange(distinct).astype(np.intp) << 8, strict=True))
    weights = np.stack([known[tuple(row)] for row in positions])
    secrets: Bytes = np.bitwise_xor.reduce(_FLAT.take(weights[:, :, None] | rows), axis=1)
    return [secret.tobytes() for secret in secrets]


def lagrange(positions: Sequence[Sequence[int]]) -> Bytes:
    """Return for each row of positions the weights, uint8 of the same shape, that give the value at 0.

    Raises:
        LocalProtocolError: a position is repeated or out of its range.
    """
    if any(len(set(row)) != len(row) or not all(0 <= p < MAX_SHARES for p in row) for row in positions):
        raise LocalProtocolError("share positions are distinct and from 0 to 254")
    points = np.array(positions, np.uint8) + np.uint8(1)
    logs = _LOG[points]
    differences = points[:, :, None] ^ points[:, None, :]
    diagonal = np.arange(points.shape[1])
    differences[:, diagonal, diagonal] = 1
    powers = logs.sum(axis=1, keepdims=True) - logs - _LOG[differences].sum(axis=2)
    weights: Bytes = _EXP[powers % 255]
    return weights
