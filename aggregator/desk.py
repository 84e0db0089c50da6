"""Where the aggregator signs: every letter that leaves it is sealed here."""

from accord.records import Record
from accord.signing import SigningKey
from accord.wire.envelope import NO_CONTEXT, seal
from accord.wire.messages import TAG_OF


class Desk:
    """Seals messages with the aggregator's key, which never leaves it."""

    __slots__ = ("_key",)

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def sealed(self, message: Record, recipient: str, context: bytes = NO_CONTEXT) -> bytes:
        """Return the bytes of a signed letter."""
        letter = seal(
            TAG_OF[type(message)],
            message.encode(),
            key=self._key,
            sender="aggregator",
            recipient=recipient,
            context=context,
        )
        return letter.encode()
