"""What one device seals to another, or to the aggregator, in either kind of keys. What is sealed is the callers'.

With X25519 alone the key of a direction is used as it is. With ML-KEM beside it a ciphertext stands in front, whose
secret goes into the key with what X25519 gives. See docs/protocol.md, sections 7.2 and 7.9.
"""

from accord import prg
from accord.errors import Refusal
from accord.secagg import hybrid, kem, keys
from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Direction:
    """What is sealed for which use, bound to ctx2, and from whom to whom."""

    label: str
    context: bytes
    sender: str
    recipient: str


def sealed(
    pair: keys.KeyPair, public: bytes, data: bytes, way: Direction, *, agreed: bytes = b"", before: bytes = b""
) -> bytes:
    """Return `data` sealed to the owner of `public`: 16 bytes longer, or 1,104 with ML-KEM.

    Args:
        pair: ours.
        public: theirs, of the same kind.
        data: what is sealed.
        way: from us to them.
        agreed: what X25519 gives between the two, where the caller has it.
        before: bytes that go with it in the open, and that can't be exchanged without breaking the seal; ML-KEM alone.

    Raises:
        Refusal: `WeakKey` or `NoPostQuantum`.
    """
    ciphertext, secret = b"", agreed or pair.shared(public)
    if isinstance(pair, hybrid.HybridPair):
        fresh, ciphertext = kem.encapsulate(hybrid.parts(public)[1])
        secret += fresh
    return ciphertext + keys.lock(_key(secret, (pair.public, public), way, before, ciphertext), data)


def opened(
    pair: keys.KeyPair,
    public: bytes,
    data: bytes,
    way: Direction,
    what: str,
    *,
    agreed: bytes = b"",
    before: bytes = b"",
) -> bytes:
    """Open what `sealed` gave the other end; `what` is its name in errors.

    Raises:
        Refusal: `BadSeal`, it was sealed under another key or was changed; `WeakKey`.
    """
    ciphertext, secret = b"", agreed or pair.shared(public)
    if isinstance(pair, hybrid.HybridPair):
        ciphertext, data = data[: kem.CIPHERTEXT], data[kem.CIPHERTEXT :]
        if len(ciphertext) < kem.CIPHERTEXT:
            raise Refusal("BadSeal", f"{what} does not open: it is too short")
        secret += pair.decapsulated(ciphertext)
    return keys.unlock(_key(secret, (pair.public, public), way, before, ciphertext), data, what)


def _key(secret: bytes, publics: tuple[bytes, bytes], way: Direction, before: bytes, ciphertext: bytes) -> bytes:
    bound = (prg.digest(before + ciphertext),) if ciphertext else ()
    return keys.derived(
        secret,
        publics,
        label=way.label,
        context=way.context,
        sender=way.sender,
        recipient=way.recipient,
        bound=bound,
    )
