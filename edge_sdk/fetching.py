"""How a device gets a large object: it asks for pieces, puts them together, and holds the one that it needed last."""

from collections.abc import Callable

from accord import prg
from accord.errors import Refusal
from accord.link import Link
from accord.records import Record
from accord.wire import chunks, topics
from edge_sdk.session_values import Fetch


class Fetching:
    """One device's downloads, one at a time.

    Args:
        link: connected as this device.
        tenant: whose fleet.
        send: signs a message and sends it to the aggregator.
        largest: bytes of the largest object that is accepted.
        received: called with the bytes of each piece that came.
    """

    def __init__(
        self,
        link: Link,
        tenant: str,
        *,
        send: Callable[[Record], None],
        largest: int,
        received: Callable[[int], None],
    ) -> None:
        self._link, self._tenant, self._send, self._largest, self._received = link, tenant, send, largest, received
        self._digest, self._data = b"", b""
        self._wanted: Fetch | None = None
        self._assembler: chunks.Assembler | None = None

    @property
    def waiting(self) -> bool:
        """Whether an object is asked for."""
        return self._wanted is not None

    def held(self, digest: bytes) -> bytes | None:
        """Return the object of this digest if it is here."""
        return self._data if digest == self._digest else None

    def fetch(self, wanted: Fetch) -> None:
        """Ask for an object; asked for twice it goes on with the pieces that are here.

        Raises:
            Refusal: `TooLarge`.
        """
        if wanted.params_size > self._largest:
            raise Refusal("TooLarge", f"a model of {wanted.params_size} bytes; at most {self._largest} are accepted")
        if self._wanted is None or self._wanted.params_digest != wanted.params_digest:
            self._leave()
            if chunks.pieces(wanted.params_size) == 1:
                one = chunks.Manifest(
                    object=wanted.params_digest, size=wanted.params_size, hashes=(wanted.params_digest,)
                )
                self._assembler = chunks.Assembler(one, self._largest)
            self._link.subscribe(topics.piece(self._tenant, wanted.params_digest.hex()), qos=0)
        self._wanted = wanted
        self.ask()

    def ask(self) -> None:
        """Ask for what is missing."""
        if self._wanted is not None:
            have = b"" if self._assembler is None else self._assembler.have
            self._send(chunks.Get(object=self._wanted.params_digest, have=have))

    def manifest(self, found: chunks.Manifest) -> None:
        """Take the list of pieces, which the aggregator signed.

        Raises:
            Refusal: `ForeignPiece`, it is of another object; `TooLarge`.
        """
        wanted = self._wanted
        if wanted is None or (found.object, found.size) != (wanted.params_digest, wanted.params_size):
            raise Refusal("ForeignPiece", "a manifest of an object that was not asked for")
        if self._assembler is None:
            self._assembler = chunks.Assembler(found, self._largest)
            self.ask()

    def piece(self, data: bytes) -> Fetch | None:
        """Take a piece; return what was asked for once the whole object is here.

        Raises:
            CodecError: it is no piece.
            Refusal: `ForeignPiece` or `BadPiece`.
        """
        if self._assembler is None or self._wanted is None:
            return None
        piece = chunks.Piece.decode(data)
        self._received(len(piece.data))
        whole = self._assembler.add(piece)
        if whole is None:
            return None
        wanted = self._wanted
        if prg.digest(whole) != wanted.params_digest:
            raise Refusal("BadPiece", "the object is not the one that the opening names")
        self._leave()
        self._digest, self._data = wanted.params_digest, whole
        return wanted

    def _leave(self) -> None:
        if self._wanted is not None:
            self._link.unsubscribe(topics.piece(self._tenant, self._wanted.params_digest.hex()))
        self._wanted, self._assembler = None, None
