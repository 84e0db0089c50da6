"""One sealed entry of SHARE and SHARES: its size in either kind of keys, and the parts that it is made of.

With ML-KEM an entry from a lower id to a higher one begins with the offer of the pair's secret, which the aggregator
keeps; the sealed pair of shares follows.
"""

from accord.secagg import kem, pair_secret
from accord.wire.secure_sum import SEALED_SHARES


def size(*, hybrid: bool, upwards: bool) -> int:
    """Return the bytes of an entry; `upwards` where it goes from a lower id to a higher one."""
    if not hybrid:
        return SEALED_SHARES
    return kem.CIPHERTEXT + SEALED_SHARES + (pair_secret.OFFER if upwards else 0)


def offer_in(entry: bytes, *, hybrid: bool, upwards: bool) -> bytes:
    """Return the offer in an entry of the right size, 1,152 bytes; none where there is none."""
    return entry[: pair_secret.OFFER] if hybrid and upwards else b""
