"""Keys of one participation: X25519 pairs, derivation bound to context and direction, and sealing.

Derived keys are KDF(X25519, label || ctx2 || from || to || both public keys). The two directions have different keys: a
key that served both with one nonce would be a two-time pad that the aggregator can read. Pair masks sort the ids and
have a label of their own. See docs/protocol.md, section 7.2.
"""

from collections.abc import Sequence

import nacl.bindings
import nacl.exceptions

from accord import cbor, prg
from accord.entropy import Entropy
from accord.errors import Refusal

SECRET = 32
"""Bytes of a secret key."""
_NONCE = bytes(12)
"""Every derived key seals one message, so the nonce is zero."""


class KeyPair:
    """An X25519 key pair (RFC 7748) of one round; its repr shows nothing."""

    __slots__ = ("_scalar", "public", "secret")

    def __init__(self, secret: bytes) -> None:
        self.secret = self._scalar = secret
        self.public: bytes = nacl.bindings.crypto_scalarmult_base(secret)

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()[:16]}...)"

    def shared(self, public: bytes) -> bytes:
        """Return the shared secret with another's public key, 32 bytes.

        Raises:
            Refusal: `WeakKey`, the result is all zero (RFC 7748, section 6.1).
        """
        return agreed(self._scalar, public)


def agreed(scalar: bytes, public: bytes) -> bytes:
    """Return X25519(scalar, public), 32 bytes each.

    Raises:
        Refusal: `WeakKey`, the result is all zero (RFC 7748, section 6.1).
    """
    try:
        secret: bytes = nacl.bindings.crypto_scalarmult(scalar, public)
    except (nacl.exceptions.RuntimeError, nacl.exceptions.CryptoError) as error:
        raise Refusal("WeakKey", "a public key is a point of small order") from error
    if secret == bytes(32):
        raise Refusal("WeakKey", "a public key is a point of small order")
    return secret


def new_pair(entropy: Entropy) -> KeyPair:
    """Draw a fresh pair: 32 bytes of entropy."""
    return KeyPair(entropy(SECRET))


def direction_key(pair: KeyPair, public: bytes, *, label: str, context: bytes, sender: str, recipient: str) -> bytes:
    """Return the 32-byte key for what `sender` seals to `recipient`; both ends derive the same.

    Args:
        pair: our pair.
        public: the other's public key.
        label: the use, such as "share".
        context: ctx2, 32 bytes.
        sender: the id of the one that seals.
        recipient: the id of the one that opens.
    """
    return derived(
        pair.shared(public), (pair.public, public), label=label, context=context, sender=sender, recipient=recipient
    )


def derived(
    secret: bytes,
    publics: tuple[bytes, bytes],
    *,
    label: str,
    context: bytes,
    sender: str,
    recipient: str,
    bound: Sequence[bytes] = (),
) -> bytes:
    """Return the key of one direction, as `direction_key`, from what two pairs agreed on and their public keys.

    `bound` are digests of what else the key depends on.
    """
    return prg.kdf(secret, cbor.encode_checked([label, context, sender, recipient, *sorted(publics), *bound]))


def pair_seed(
    pair: KeyPair,
    public: bytes,
    *,
    context: bytes,
    one: str,
    other: str,
    more: bytes = b"",
    bound: Sequence[bytes] = (),
) -> bytes:
    """Return the 32-byte seed of the mask that two devices share.

    Args:
        pair: ours.
        public: theirs.
        context: ctx2.
        one: our id or theirs.
        other: the other one.
        more: a second secret, 32 bytes, behind what X25519 gives.
        bound: digests of what else the seed depends on.
    """
    ends = [*sorted((one, other)), *sorted((pair.public, public)), *bound]
    return prg.kdf(pair.shared(public) + more, cbor.encode_checked(["pair", context, *ends]))


def self_seed(secret: bytes, context: bytes) -> bytes:
    """Return the 32-byte seed of a device's own mask from its secret b."""
    return prg.kdf(secret, cbor.encode_checked(["self", context]))


def lock(key: bytes, data: bytes) -> bytes:
    """Seal `data` under a single-use key: 16 bytes longer (ChaCha20-Poly1305, RFC 8439)."""
    sealed: bytes = nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(data, None, _NONCE, key)
    return sealed


def unlock(key: bytes, sealed: bytes, what: str) -> bytes:
    """Open what `lock` sealed.

    Raises:
        Refusal: `BadSeal`, it was sealed under another key or was changed.
    """
    try:
        data: bytes = nacl.bindings.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, _NONCE, key)
    except nacl.exceptions.CryptoError as error:
        raise Refusal("BadSeal", f"{what} does not open") from error
    return data
