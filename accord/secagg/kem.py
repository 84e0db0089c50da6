"""ML-KEM-768 (FIPS 203), as `cryptography` has it. What its secrets are for is `hybrid` and `pair_secret`.

The library takes no entropy from its caller: encapsulation draws from the operating system, the one thing on these
floors that does. So nothing that a device needs again after a restart is made of what it gives; see docs/adr/0033.
"""

from functools import lru_cache
from typing import Any

from accord.errors import Refusal

SEED, PUBLIC, CIPHERTEXT, SHARED = 64, 1_184, 1_088, 32
"""Bytes of a private key's seed (d || z), of an encapsulation key, of a ciphertext, and of what both ends get."""
MISSING = (
    "no ML-KEM-768 is installed here: pip install 'cryptography>=50' (a wheel of it; the system's OpenSSL may have "
    "none), or leave keys at x25519"
)


@lru_cache(maxsize=1)
def _found() -> Any:
    """Return the library's module, or None where it or its OpenSSL has no ML-KEM."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - not in the base install
        from cryptography.hazmat.primitives.asymmetric import mlkem  # noqa: PLC0415 - not in the base install
    except ImportError:
        return None
    try:
        mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes(SEED))
    except UnsupportedAlgorithm:
        return None
    return mlkem


def available() -> bool:
    """Whether this machine has ML-KEM-768."""
    return _found() is not None


def _module() -> Any:
    if not available():
        raise Refusal("NoPostQuantum", MISSING)
    return _found()


class Decapsulator:
    """A private key made from its seed, 64 bytes; its repr shows nothing.

    Raises:
        Refusal: `NoPostQuantum`.
    """

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = _module().MLKEM768PrivateKey.from_seed_bytes(seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return "Decapsulator(...)"

    def open(self, ciphertext: bytes) -> bytes:
        """Return the 32 bytes in a ciphertext of 1,088; of one that was made for another key, other bytes."""
        secret: bytes = self._key.decapsulate(ciphertext)
        return secret


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """Return 32 fresh secret bytes, and the ciphertext, 1,088 bytes, that gives them to the owner of `public`.

    Raises:
        Refusal: `NoPostQuantum`, or `WeakKey`, the bytes are no encapsulation key (FIPS 203, section 7.2).
    """
    try:
        secret, ciphertext = _module().MLKEM768PublicKey.from_public_bytes(public).encapsulate()
    except ValueError as error:
        raise Refusal("WeakKey", "a public key is no encapsulation key of ML-KEM-768") from error
    return secret, ciphertext


def check(public: bytes) -> None:
    """Refuse bytes that are no encapsulation key.

    Raises:
        Refusal: `NoPostQuantum` or `WeakKey`.
    """
    try:
        _module().MLKEM768PublicKey.from_public_bytes(public)
    except ValueError as error:
        raise Refusal("WeakKey", "a public key is no encapsulation key of ML-KEM-768") from error
