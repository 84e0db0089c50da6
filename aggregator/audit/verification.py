"""Recomputes a whole audit log and says whether it is the one that was signed; names the first entry that is not.

Needs no key but those that the roles documents name. See docs/protocol.md, section 16.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from accord import merkle
from accord.errors import CodecError, SignatureError
from accord.wire.envelope import Envelope
from accord.wire.messages import Checkpoint, Roles, opened
from aggregator.audit.entries import AuditEntry
from aggregator.audit.record_file import Frame


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What does not fit: `entry` is the first entry that may be wrong, None if it is about a checkpoint alone."""

    entry: int | None
    problem: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What verification found. The log holds if `finding` is None.

    `signed` is the size of the largest checkpoint that was checked; entries behind it are not vouched for yet.
    """

    entries: int
    root: bytes
    signed: int
    checkpoints: int
    kinds: Mapping[str, int] = field(default_factory=dict)
    finding: Finding | None = None


@dataclass(frozen=True, kw_only=True)
class _Signed:
    """A checkpoint whose signature holds, and where it was found."""

    size: int
    root: bytes
    where: str


class _WrongError(Exception):
    def __init__(self, entry: int | None, problem: str) -> None:
        super().__init__(problem)
        self.finding = Finding(entry=entry, problem=problem)


def verify(
    entries: Iterable[Frame],
    checkpoints: Sequence[Frame],
    roles: Sequence[Roles],
    *,
    shown: Mapping[str, bytes] | None = None,
    progress: Callable[[int], None] = lambda _offset: None,
) -> Report:
    """Read a log from its first entry and compare it with every checkpoint.

    Args:
        entries: as they lie in storage, from the first one.
        checkpoints: as they lie in storage; read before the entries if somebody may be appending.
        roles: whose signatures count: any of these documents' aggregators.
        shown: signed checkpoints from elsewhere, such as one that a device kept, each under the name to call it by.
        progress: called with the offset in bytes that was reached.
    """
    signed: list[_Signed] = []
    finding: Finding | None = None
    recomputing = _Recomputing()
    try:
        signed = _signed(checkpoints, roles, shown or {})
        recomputing.run(entries, signed, progress)
    except _WrongError as wrong:
        finding = wrong.finding
    return Report(
        entries=recomputing.tree.size,
        root=recomputing.tree.root(),
        signed=recomputing.good,
        checkpoints=len(signed),
        kinds=dict(sorted(recomputing.kinds.items())),
        finding=finding,
    )


def _signed(checkpoints: Sequence[Frame], roles: Sequence[Roles], shown: Mapping[str, bytes]) -> list[_Signed]:
    """Return all checkpoints in ascending order of size, each signed by an aggregator of `roles`."""
    found: list[_Signed] = []
    for frame in checkpoints:
        where = f"checkpoint {frame.index}"
        if not frame.fits:
            raise _WrongError(None, f"{where} is damaged: bring the file `checkpoints` back from a copy")
        found.append(_checked(frame.data, roles, where))
        if len(found) > 1 and found[-1].size <= found[-2].size:
            raise _WrongError(None, f"{where} is of {found[-1].size} entries, and the one before of {found[-2].size}")
    found += [_checked(data, roles, where) for where, data in shown.items()]
    return sorted(found, key=lambda one: one.size)


def _checked(data: bytes, roles: Sequence[Roles], where: str) -> _Signed:
    try:
        letter = Envelope.decode(data)
        message = opened(letter, Checkpoint)
    except CodecError as error:
        raise _WrongError(None, f"{where} is no checkpoint: {error}") from error
    for document in roles:
        try:
            letter.check(document.aggregator)
        except SignatureError:
            continue
        if letter.recipient != document.tenant:
            raise _WrongError(None, f"{where} is of the log of {letter.recipient}, not {document.tenant}")
        return _Signed(size=message.size, root=message.root, where=where)
    raise _WrongError(
        None,
        f"{where} (of {message.size} entries) is not signed by the aggregator of the roles documents at hand: "
        "give the one of that time with --roles",
    )


class _Recomputing:
    """A tree that grows and is held against each checkpoint; `good` is the size of the last one that fits."""

    def __init__(self) -> None:
        self.tree, self.kinds, self.good = merkle.Tree(), Counter[str](), 0

    def run(self, entries: Iterable[Frame], signed: Sequence[_Signed], progress: Callable[[int], None]) -> None:
        """Read all entries; raise at the first thing that is wrong."""
        left = self._compared(signed)
        for frame in entries:
            if not frame.fits:
                if not left:
                    return  # torn: nobody vouched for it
                raise _WrongError(frame.index, f"entry {frame.index} was changed after it was written")
            try:
                self.kinds[AuditEntry.decode(frame.data).kind] += 1
            except CodecError as error:
                raise _WrongError(frame.index, f"entry {frame.index} is none: {error}") from error
            self.tree.append(frame.leaf)
            progress(frame.end)
            left = self._compared(left)
        if left:
            self._short(left[0])

    def _short(self, signed: _Signed) -> None:
        """Raise for a log that ends before a checkpoint: what lies behind the last one that fits is in question."""
        here, which = self.tree.size, _which(self.good, self.tree.size)
        doubt = f"{which} is not what was signed, or " if here > self.good else ""
        raise _WrongError(
            self.good,
            f"{doubt}entry {here} is missing: {signed.where} is of {signed.size} entries, and {here} are here",
        )

    def _compared(self, left: Sequence[_Signed]) -> Sequence[_Signed]:
        """Compare the tree with the checkpoints of its size and return those that are larger."""
        while left and left[0].size == self.tree.size:
            if self.tree.root() != left[0].root:
                raise _WrongError(self.good, _span(self.good, self.tree.size, left[0].where))
            self.good, left = self.tree.size, left[1:]
        return left


def _span(first: int, end: int, where: str) -> str:
    """Return the sentence for a root that differs: the entries since the last one that did not are in question."""
    return (
        f"{_which(first, end)} is not what was signed: {where} of {end} entries has another root "
        "(edited, moved, left out or added)"
    )


def _which(first: int, end: int) -> str:
    if end <= first:
        return "the empty log"
    return f"entry {first}" if end == first + 1 else f"one of the entries {first} to {end - 1}"
