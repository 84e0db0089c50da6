"""The audit log itself: appends entries, signs checkpoints, and proves what is in it. Knows no file and no database."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from accord import merkle
from accord.errors import AccordError, LocalProtocolError, Refusal, SignatureError
from accord.ids import AGGREGATOR
from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Checkpoint, opened
from aggregator.audit.entries import AuditEntry


class AuditError(AccordError):
    """The audit log does not hold, or does not hold what was asked for; the message says what to do."""


class Storage(Protocol):
    """Where a log lies. What it took is there after a power cut, in the same order, and is never changed."""

    def append(self, leaves: Sequence[bytes]) -> None:
        """Write entries behind the last one; all or, if it raises, none of them count."""
        ...

    def leaves(self, start: int, end: int | None = None) -> Iterator[bytes]:
        """Read the entries `start` to `end` (not included), to the last one if None."""
        ...

    def keep(self, size: int, checkpoint: bytes) -> None:
        """Write the signed checkpoint of the first `size` entries; called once for each size, in ascending order."""
        ...

    def checkpoints(self) -> Iterable[bytes]:
        """Read the signed checkpoints, in ascending order of size."""
        ...


class AuditLog:
    """One tenant's log, with one writer.

    Args:
        storage: where it lies; all of it is read once.
        key: the aggregator's.
        tenant: whose log it is.

    Raises:
        AuditError: what lies there is not what was signed last: signing more would be a fork.
    """

    def __init__(self, storage: Storage, *, key: SigningKey, tenant: str) -> None:
        self._storage, self._key, self._tenant = storage, key, tenant
        self._tree = merkle.Tree()
        for leaf in storage.leaves(0):
            self._tree.append(merkle.leaf_hash(leaf))
        self._last = b""
        for self._last in storage.checkpoints():
            pass
        if self._last:
            signed = opened(Envelope.decode(self._last), Checkpoint)
            if signed.size > self.size or self._tree.root(signed.size) != signed.root:
                raise AuditError(
                    f"the audit log is not the one of {signed.size} entries that was signed last: "
                    "`accord audit verify` names the first entry that does not fit; bring back a newer copy",
                )

    @property
    def size(self) -> int:
        """The number of entries."""
        return self._tree.size

    def sign_with(self, key: SigningKey) -> None:
        """Sign with another key from here on; the roles document that names it is logged before the next checkpoint."""
        self._key = key

    def append(self, *entries: AuditEntry) -> int:
        """Write entries and return the index of the first one; they are durable, and not yet signed.

        Several at once cost one flush of the disk.

        Raises:
            FileError: none of them was written.
        """
        leaves = [entry.encode() for entry in entries]
        self._storage.append(leaves)
        first = self.size
        for leaf in leaves:
            self._tree.append(merkle.leaf_hash(leaf))
        return first

    def checkpoint(self) -> bytes:
        """Return the signed CHECKPOINT of all entries; the same bytes as long as there is no new one.

        Raises:
            LocalProtocolError: the key changed since, and the new roles document was not logged.
        """
        if self._last:
            letter = Envelope.decode(self._last)
            if opened(letter, Checkpoint).size == self.size:
                try:
                    letter.check(self._key.public)
                except SignatureError as error:
                    raise LocalProtocolError("a new key signs only after its roles document was logged") from error
                return self._last
        message = Checkpoint(size=self.size, root=self._tree.root())
        data = seal(
            TAG_OF[Checkpoint], message.encode(), key=self._key, sender=AGGREGATOR, recipient=self._tenant
        ).encode()
        self._storage.keep(self.size, data)
        self._last = data
        return data

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that entry `index` is in the log of the first `size` entries.

        Raises:
            Refusal: `LogBehind`, there is no such entry or size.
        """
        if not 0 <= index < size <= self.size:
            raise Refusal("LogBehind", f"entry {index} of {size} was asked for; the log has {self.size} entries")
        return self._tree.inclusion(index, size)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the proof that the log of `new` entries begins with that of `old`.

        Raises:
            Refusal: `LogBehind`, there is no such log: a device that asks has seen one that was longer.
        """
        if not 0 <= old <= new <= self.size:
            raise Refusal("LogBehind", f"a log of {old} entries has been seen; this one has {min(new, self.size)}")
        return self._tree.consistency(old, new)

    def read(self, start: int, end: int) -> list[AuditEntry]:
        """Return the entries `start` to `end`, the end not included; fewer where the log ends."""
        return [AuditEntry.decode(leaf) for leaf in self._storage.leaves(start, min(end, self.size))]
