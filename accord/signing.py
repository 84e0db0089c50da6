"""Ed25519 (RFC 8032) signatures as values: a signing key whose repr shows nothing, and one check."""

import nacl.bindings
import nacl.exceptions

from accord.errors import LocalProtocolError, SignatureError

SEED_SIZE = 32
PUBLIC_SIZE = 32
SIGNATURE_SIZE = 64


class SigningKey:
    """An Ed25519 key pair.

    Args:
        seed: 32 bytes from `entropy` or from a key file.

    Raises:
        LocalProtocolError: the seed has another size.
    """

    __slots__ = ("_secret", "_seed", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise LocalProtocolError(f"a signing seed has {SEED_SIZE} bytes, not {len(seed)}")
        self._seed = seed
        self.public: bytes
        self.public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()[:16]}...)"

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not pickled: write its seed to a key file with mode 0600")

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes, for the keystore alone."""
        return self._seed

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`."""
        signed: bytes = nacl.bindings.crypto_sign(data, self._secret)
        return signed[:SIGNATURE_SIZE]


def verify(public: bytes, data: bytes, signature: bytes, what: str) -> None:
    """Check that `signature` is `public`'s over `data`.

    Args:
        public: 32 bytes.
        data: the exact bytes that were signed.
        signature: 64 bytes.
        what: the noun for the error, such as "JOIN of dev-7".

    Raises:
        SignatureError: a size is wrong, or the signature is not valid.
    """
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
        raise SignatureError(f"{what}: a key or signature has the wrong size")
    try:
        nacl.bindings.crypto_sign_open(signature + data, public)
    except nacl.exceptions.BadSignatureError as error:
        raise SignatureError(f"{what}: the signature is not valid") from error
