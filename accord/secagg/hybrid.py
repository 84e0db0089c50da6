"""Key pairs of X25519 and ML-KEM-768 together: both made from one secret of 32 bytes, their public halves side by side.

A public key is X25519's, 32 bytes, and behind it ML-KEM's, 1,184. The scalar is derived, too: whoever finds it from
X25519's public key, as a quantum computer would, has not found the secret. See docs/protocol.md, section 7.9.
"""

from accord import cbor, prg
from accord.entropy import Entropy
from accord.errors import Refusal
from accord.plan import HYBRID, HYBRID_KEY, X25519_KEY
from accord.secagg import kem, keys


class HybridPair(keys.KeyPair):
    """Both pairs of one secret; its repr shows nothing.

    Raises:
        Refusal: `NoPostQuantum`, ML-KEM is not installed.
    """

    __slots__ = ("_decapsulator",)

    def __init__(self, secret: bytes) -> None:
        super().__init__(_derived(secret, "x25519", 0))
        seed = _derived(secret, "mlkem768", 0) + _derived(secret, "mlkem768", 1)
        self._decapsulator = kem.Decapsulator(seed)
        self.secret = secret
        self.public += self._decapsulator.public

    def shared(self, public: bytes) -> bytes:
        """Return what X25519 gives with the first part of another's public key, 32 bytes.

        Raises:
            Refusal: `WeakKey`.
        """
        return keys.agreed(self._scalar, public[:X25519_KEY])

    def decapsulated(self, ciphertext: bytes) -> bytes:
        """Return the 32 bytes that somebody sent to this pair in a ciphertext of 1,088."""
        return self._decapsulator.open(ciphertext)


def _derived(secret: bytes, what: str, number: int) -> bytes:
    return prg.kdf(secret, cbor.encode_checked([what, number]))


def pair_of(secret: bytes, suite: str) -> keys.KeyPair:
    """Return the pair of a 32-byte secret, in the plan's kind of keys.

    Raises:
        Refusal: `NoPostQuantum`.
    """
    return HybridPair(secret) if suite == HYBRID else keys.KeyPair(secret)


def new_pair(entropy: Entropy, suite: str) -> keys.KeyPair:
    """Draw a fresh pair: 32 bytes of entropy in every kind of keys."""
    return pair_of(entropy(keys.SECRET), suite)


def parts(public: bytes) -> tuple[bytes, ...]:
    """Return the keys that stand in a public key: X25519's, and ML-KEM's where it has one."""
    return (public,) if len(public) == X25519_KEY else (public[:X25519_KEY], public[X25519_KEY:])


def check_size(public: bytes, suite: str) -> None:
    """Refuse a public key of another kind than the plan's.

    Raises:
        Refusal: `WrongShape`.
    """
    if len(public) != (HYBRID_KEY if suite == HYBRID else X25519_KEY):
        raise Refusal("WrongShape", f"a public key of {len(public)} bytes is none of {suite}")
