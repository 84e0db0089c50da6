"""What a process that plays many devices need not work out twice: signatures that held, and what two pairs agreed on.

Every member of a cohort checks the same JOINs, and both ends of a pair come to the same secret; a simulated fleet does
all of it in one process. A device in a process of its own has no recall: it is asked for each thing once, and should
not hold a secret longer than it needs it.
"""

from accord import cbor, prg
from accord.secagg.hybrid import parts
from accord.secagg.keys import KeyPair
from accord.signing import verify

_LARGEST = 1 << 17
"""Entries of each kind; a simulated cohort of 1,000 with 100 neighbours has as many pairs of each of two keys."""


class Recall:
    """One process's."""

    __slots__ = ("_agreed", "_held")

    def __init__(self) -> None:
        self._held: set[bytes] = set()
        self._agreed: dict[frozenset[bytes], bytes] = {}

    def verify(self, public: bytes, data: bytes, signature: bytes, what: str) -> None:
        """Check a signature as `signing.verify` does, unless the very same one has held before.

        Raises:
            SignatureError: it is not valid.
        """
        name = prg.digest(cbor.encode_checked([public, signature, data]))
        if name in self._held:
            return
        verify(public, data, signature, what)
        if len(self._held) >= _LARGEST:
            self._held.clear()
        self._held.add(name)

    def shared(self, pair: KeyPair, public: bytes) -> bytes:
        """Return `pair.shared(public)`; what the other end has found is taken from it, and forgotten.

        Raises:
            Refusal: `WeakKey`.
        """
        ends = frozenset((parts(pair.public)[0], parts(public)[0]))
        found = self._agreed.pop(ends, None)
        if found is not None:
            return found
        found = pair.shared(public)
        if len(self._agreed) >= _LARGEST:
            self._agreed.clear()
        self._agreed[ends] = found
        return found
