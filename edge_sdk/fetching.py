"""How a device gets a version of the model: a delta from the one that it holds, or the whole, in pieces.

It holds the last one. A delta that does not hold is refused by name, and the whole is asked for instead.
"""

from collections.abc import Callable

from accord import prg
from accord.errors import Refusal
from accord.link import Link
from accord.records import Record
from accord.tensors import Layout
from accord.update import delta
from accord.wire import chunks, topics
from edge_sdk.session_values import Fetch


class Fetching:
    """One device's downloads, one at a time.

    Args:
        link: connected as this device.
        tenant: whose fleet.
        layout: the model's trainable tensors.
        held: the version that is here already; empty if none is.
        send: signs a message and sends it to the aggregator.
        largest: bytes of the largest object that is accepted.
        received: called with the bytes of each piece that came.
        kept: called with each version that is held from then on, and the delta that led there from the one before;
            empty if none did.
    """

    def __init__(
        self,
        link: Link,
        tenant: str,
        layout: Layout,
        *,
        held: bytes,
        send: Callable[[Record], None],
        largest: int,
        received: Callable[[int], None],
        kept: Callable[[bytes, bytes], None],
    ) -> None:
        self._link, self._tenant, self._layout, self._send = link, tenant, layout, send
        self._largest, self._received, self._kept = largest, received, kept
        self._data, self._digest = held, prg.digest(held) if held else b""
        self._wanted: Fetch | None = None
        self._whole = True
        """Whether the object itself is asked for, and not what leads there."""
        self._assembler: chunks.Assembler | None = None
        self._listening = b""

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
        again = self._wanted is not None and self._wanted.params_digest == wanted.params_digest
        self._wanted = wanted
        if again:
            self.ask_again()
        elif self._digest:
            self._whole, self._assembler = False, None
            self._listen(b"")
            self._ask(b"")
        else:
            self._ask_for_the_whole()

    def ask_again(self) -> None:
        """Ask for what is missing, and what it is missing of: the aggregator may serve something else by now."""
        if self._wanted is not None:
            self._ask(self._have if self._whole else b"")

    def manifest(self, found: chunks.Manifest) -> None:
        """Take the list of the object's own pieces, which the aggregator signed.

        Raises:
            Refusal: `ForeignPiece`, it is of another object; `TooLarge`.
        """
        wanted = self._wanted
        if wanted is None or (found.object, found.size) != (wanted.params_digest, wanted.params_size):
            raise Refusal("ForeignPiece", "a manifest of an object that was not asked for")
        if not self._whole or self._assembler is None:
            self._take(found, self._largest)
            self._whole = True
            self._ask(self._have)

    def merged(self, found: chunks.Merged) -> None:
        """Take the list of the pieces of a delta that leads to the object, which the aggregator signed.

        Raises:
            Refusal: `ForeignDelta`, it does not lead from what is held to what was asked for; `OversizeDelta`, it is
                not smaller than that.
        """
        wanted = self._wanted
        if wanted is None or found.wanted != wanted.params_digest:
            raise Refusal("ForeignDelta", "a delta to an object that was not asked for")
        if self._whole:
            return  # it was asked for before the whole was
        if found.base != self._digest:
            self._ask_for_the_whole()
            raise Refusal("ForeignDelta", "a delta from a version that is not here")
        if found.manifest.size >= wanted.params_size:
            self._ask_for_the_whole()
            raise Refusal("OversizeDelta", f"a delta of {found.manifest.size} bytes to {wanted.params_size}")
        if self._assembler is None or self._assembler.manifest != found.manifest:
            self._take(found.manifest, wanted.params_size)
        self._ask(self._have)

    def piece(self, data: bytes) -> Fetch | None:
        """Take a piece; return what was asked for once the whole object is here.

        Raises:
            CodecError: it is no piece.
            Refusal: `ForeignPiece` or `BadPiece`; those of `delta.apply`, and then the object itself was asked for.
        """
        if self._assembler is None or self._wanted is None:
            return None
        piece = chunks.Piece.decode(data)
        self._received(len(piece.data))
        found = self._assembler.add(piece)
        if found is None:
            return None
        wanted, led = self._wanted, b""
        if not self._whole:
            try:
                led, found = found, delta.apply(self._data, found, self._layout, wanted.params_digest)
            except Refusal:
                self._ask_for_the_whole()
                raise
        if prg.digest(found) != wanted.params_digest:
            raise Refusal("BadPiece", "the object is not the one that the opening names")
        self._listen(b"")
        self._wanted, self._assembler = None, None
        self._digest, self._data = wanted.params_digest, found
        self._kept(found, led)
        return wanted

    @property
    def _have(self) -> bytes:
        return b"" if self._assembler is None else self._assembler.have

    def _ask(self, have: bytes) -> None:
        assert self._wanted is not None
        held = b"" if self._whole else self._digest
        self._send(chunks.Get(object=self._wanted.params_digest, have=have, held=held))

    def _ask_for_the_whole(self) -> None:
        assert self._wanted is not None
        wanted, self._whole, self._assembler = self._wanted, True, None
        if chunks.pieces(wanted.params_size) == 1:  # its hash is its name
            name = wanted.params_digest
            self._take(chunks.Manifest(object=name, size=wanted.params_size, hashes=(name,)), self._largest)
        self._listen(wanted.params_digest)
        self._ask(self._have)

    def _take(self, manifest: chunks.Manifest, limit: int) -> None:
        self._assembler = chunks.Assembler(manifest, limit)
        self._listen(manifest.object)

    def _listen(self, name: bytes) -> None:
        """Subscribe to the pieces of one object, or of none."""
        if name == self._listening:
            return
        if self._listening:
            self._link.unsubscribe(topics.piece(self._tenant, self._listening.hex()))
        self._listening = name
        if name:
            self._link.subscribe(topics.piece(self._tenant, name.hex()), qos=0)
