"""Signed letters: bytes are verified as received, hashed once, and never re-encoded.

The signature covers ["accord/1/" + tag, sender, recipient, context, digest(payload)]. See docs/protocol.md, section 4.
"""

from functools import cached_property
from typing import ClassVar

from accord import cbor, prg, signing
from accord.records import Name, Octets, Record, Text, field
from accord.values import dataclass

NO_CONTEXT = bytes(32)
"""The context of a letter that is not yet bound to a round."""


def signed_bytes(tag: str, sender: str, recipient: str, context: bytes, digest: bytes) -> bytes:
    """Return what a signature of this letter covers; `digest` is its payload's."""
    return cbor.encode_checked(["accord/1/" + tag, sender, recipient, context, digest])


@dataclass(frozen=True, kw_only=True)
class Envelope(Record):
    """One letter as it travels; not verified until `check` was called."""

    LIMIT: ClassVar[int] = 1 << 31

    tag: str = field(Text(32))
    sender: str = field(Name())
    recipient: str = field(Name())
    context: bytes = field(Octets(32))
    payload: bytes = field(Octets(0, (1 << 31) - 4_096))
    signature: bytes = field(Octets(signing.SIGNATURE_SIZE))

    @cached_property
    def digest(self) -> bytes:
        """H(payload), 32 bytes; hashed once, however often it is asked for."""
        return prg.digest(self.payload)

    def check(self, public: bytes) -> None:
        """Check the signature under the sender's public key.

        Raises:
            SignatureError: it is not valid.
        """
        covered = signed_bytes(self.tag, self.sender, self.recipient, self.context, self.digest)
        signing.verify(public, covered, self.signature, f"{self.tag} from {self.sender}")


def seal(
    tag: str,
    payload: bytes,
    *,
    key: signing.SigningKey,
    sender: str,
    recipient: str,
    context: bytes = NO_CONTEXT,
) -> Envelope:
    """Sign `payload` and return the letter."""
    signature = key.sign(signed_bytes(tag, sender, recipient, context, prg.digest(payload)))
    return Envelope(
        tag=tag,
        sender=sender,
        recipient=recipient,
        context=context,
        payload=payload,
        signature=signature,
    )
