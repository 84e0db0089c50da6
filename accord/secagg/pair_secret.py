"""The second half of a pair's mask seed where keys have ML-KEM: made by the lower id of two, offered to the higher one.

It is derived from the lower one's mask secret, and what gives it to the higher one opens with that one's: so it comes
out of either secret when a dropout's is opened. A hash of it goes with the offer, which the higher one checks before it
masks, and the aggregator when it opens a secret: no two views of it can both be masked with. See docs/protocol.md,
section 7.9.
"""

from accord import cbor, prg
from accord.errors import Refusal
from accord.secagg import hybrid, kem, keys

_SECRET = 32
OFFER = kem.CIPHERTEXT + 2 * _SECRET
"""Bytes of an offer: a ciphertext, the secret under what is in it, and the secret's hash."""


def own(secret: bytes, context: bytes, lower: str, higher: str) -> bytes:
    """Return the 32 bytes that the lower id shares with the higher one.

    Args:
        secret: the lower one's mask secret, 32 bytes.
        context: ctx2, 32 bytes.
        lower: its id.
        higher: the other's.
    """
    return prg.kdf(secret, cbor.encode_checked(["pq", context, lower, higher]))


def offer(secret: bytes, public: bytes, context: bytes, lower: str, higher: str) -> bytes:
    """Return what gives `own` to the owner of the mask key `public`, 1,152 bytes.

    Raises:
        Refusal: `WeakKey` or `NoPostQuantum`.
    """
    shared, ciphertext = kem.encapsulate(hybrid.parts(public)[1])
    shown = own(secret, context, lower, higher)
    return ciphertext + _exclusive(shown, _veil(shared, context, lower, higher)) + prg.digest(shown)


def taken(pair: keys.KeyPair, offered: bytes, context: bytes, lower: str, higher: str) -> bytes:
    """Return what an offer gives to the owner of a mask key.

    Raises:
        Refusal: `WrongPairSecret`, the hash is of something else: the lower id made it so.
    """
    if not isinstance(pair, hybrid.HybridPair):
        raise Refusal("WrongShape", "a pair of X25519 alone has no second secret")
    shared = pair.decapsulated(offered[: kem.CIPHERTEXT])
    veiled = offered[kem.CIPHERTEXT : kem.CIPHERTEXT + _SECRET]
    shown = _exclusive(veiled, _veil(shared, context, lower, higher))
    check(shown, offered, lower, higher)
    return shown


def check(shown: bytes, offered: bytes, lower: str, higher: str) -> None:
    """Refuse a pair's secret that is not the one whose hash stands in the offer.

    Raises:
        Refusal: `WrongPairSecret`.
    """
    if prg.digest(shown) != offered[-_SECRET:]:
        raise Refusal("WrongPairSecret", f"{lower} offered {higher} another secret than the one that it committed to")


def seed(
    pair: keys.KeyPair,
    public: bytes,
    more: tuple[bytes, bytes] | None,
    *,
    context: bytes,
    ends: tuple[str, str],
) -> bytes:
    """Return the 32-byte seed of the mask that two devices share.

    Args:
        pair: of one end.
        public: of the other.
        more: the pair's secret and the offer that it went in; None where keys are X25519 alone.
        context: ctx2.
        ends: both ids.
    """
    secret, offered = more or (b"", b"")
    bound = (prg.digest(offered[: kem.CIPHERTEXT]),) if more else ()
    return keys.pair_seed(pair, public, context=context, one=ends[0], other=ends[1], more=secret, bound=bound)


def _veil(shared: bytes, context: bytes, lower: str, higher: str) -> bytes:
    return prg.kdf(shared, cbor.encode_checked(["pq veil", context, lower, higher]))


def _exclusive(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
