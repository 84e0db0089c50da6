"""The keystream behind masks and rounding: ChaCha20 of RFC 8439, block counter 1, and digests.

`cryptography` where it is installed, else PyNaCl's ChaCha20-Poly1305 over zero bytes: byte-identical,
and a test says so. See docs/protocol.md, section 3.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import nacl.bindings

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
except ImportError:  # a device without extra [mtls]
    _HAVE_CRYPTOGRAPHY = False
else:
    _HAVE_CRYPTOGRAPHY = True

KEY_SIZE = 32
NONCE_SIZE = 12
_TAG_SIZE = 16
_PIECE = 1 << 16
_ZEROS = memoryview(bytes(_PIECE))
_AT_ONCE = 64
"""Streams that are open at a time."""
_BLOCK = 64
_FIRST_BLOCK = 1
_LONG = 1 << 16
"""Bytes."""


def digest(data: bytes) -> bytes:
    """Return BLAKE2b-256 of `data`: 32 bytes."""
    if len(data) >= _LONG and type(data) is bytes:  # libsodium takes 0.8 of hashlib's time, and is slower to call
        found: bytes = nacl.bindings.crypto_generichash_blake2b_salt_personal(data, digest_size=32)
        return found
    return hashlib.blake2b(data, digest_size=32).digest()


def kdf(secret: bytes, label: bytes) -> bytes:
    """Derive a 32-byte key from a secret of 32 or 64 bytes for the use that `label` names (keyed BLAKE2b, RFC 7693)."""
    return hashlib.blake2b(label, key=secret, digest_size=32, person=b"accord/1/kdf").digest()


def keystream_pynacl(key: bytes, nonce: bytes, size: int) -> bytes:
    """Return `size` bytes of keystream, by encrypting zeros (0.3 GB/s)."""
    sealed: bytes = nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(bytes(size), None, nonce, key)
    return sealed[: len(sealed) - _TAG_SIZE]


def keystream_cryptography(key: bytes, nonce: bytes, size: int) -> bytes:
    """Return `size` bytes of keystream (several GB/s)."""
    stream: bytes = _stream(key, nonce).update(bytes(size))
    return stream


BACKEND = "cryptography" if _HAVE_CRYPTOGRAPHY else "pynacl"
keystream: Callable[[bytes, bytes, int], bytes] = keystream_cryptography if _HAVE_CRYPTOGRAPHY else keystream_pynacl
"""`keystream(key 32 B, nonce 12 B, size)`: the fastest backend that is installed."""


def keystream_pieces(
    keys: Sequence[bytes], nonce: bytes, size: int, skip: int = 0
) -> Iterator[tuple[int, int, memoryview]]:
    """Yield the same bytes as `keystream` for many keys, in pieces that stay in the processor's cache.

    Args:
        keys: 32 bytes each.
        nonce: 12 bytes.
        size: bytes of each stream.
        skip: bytes at the beginning of each stream that are left out: whole blocks of 64.

    Yields:
        The key's index, where the piece begins behind what was left out, and its bytes, at most 64 KiB, which hold
        until the next one is asked for. Each key's pieces are in order. First come the first pieces of all keys, as
        what they are added to should stay in the cache, too; PyNaCl has no stream that goes on, so there each key's is
        one piece.
    """
    if not _HAVE_CRYPTOGRAPHY:
        for at, key in enumerate(keys):
            yield at, 0, memoryview(keystream_pynacl(key, nonce, skip + size))[skip:]
        return
    buffer = memoryview(bytearray(min(_PIECE, size)))
    for first in range(0, len(keys), _AT_ONCE):
        streams = [_stream(key, nonce, skip // _BLOCK) for key in keys[first : first + _AT_ONCE]]
        for start in range(0, size, _PIECE):
            piece = buffer[: min(_PIECE, size - start)]
            zeros = _ZEROS[: len(piece)]
            for at, stream in enumerate(streams, first):
                stream.update_into(zeros, piece)
                yield at, start, piece


def _stream(key: bytes, nonce: bytes, block: int = 0) -> Any:
    counter = (_FIRST_BLOCK + block).to_bytes(4, "little")
    return Cipher(algorithms.ChaCha20(key, counter + nonce), mode=None).encryptor()
