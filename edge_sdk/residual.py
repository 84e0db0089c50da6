"""A device's residual on its way through attempts: what is added next, and what may be in a sum that is not told yet.

Whatever is added to an update is taken out and is in flight until RESULT: *included* puts back what the update left
out, *not included* what was taken out, and where nobody knows it stays out. So nothing is ever in two sums.

Each vector is a file of its own that is written once; one small file, written before MASKED leaves, says which of them
is held and which is in flight. A power cut finds that as it was before or after, never in between.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from accord.errors import CodecError
from accord.plan import Update
from accord.records import Int, Many, Name, Nested, Octets, Record
from accord.records import field as wire
from accord.tensors import Vector
from accord.update import feedback
from accord.values import dataclass
from edge_sdk.session_values import Forget, Keep

RESIDUAL = "residual"
"""The small file's name."""
VECTORS = tuple(f"{RESIDUAL}-{number}" for number in range(1, 9))
"""Those of the vectors: at most five are in use, and no file that may be in use is written again."""
LARGEST_VECTOR = 1 << 30
"""Bytes."""
_NUMBER = Int(0, len(VECTORS))
_MOST = 2
"""The attempt under way, and the one before whose RESULT has not come."""


@dataclass(frozen=True, kw_only=True)
class Flight(Record):
    """An update that was sent, by the attempt's second context: the residual before it, and the one that it leaves.

    Both are numbers of files; 0 is nothing.
    """

    context: bytes = wire(Octets(32))
    before: int = wire(_NUMBER)
    after: int = wire(_NUMBER)


@dataclass(frozen=True, kw_only=True)
class Kept(Record):
    """The small file: whose residual it is, of which line of the model, and which vectors are held and in flight."""

    LIMIT: ClassVar[int] = 4_096

    job: str = wire(Name())
    bundle: bytes = wire(Octets(32))
    line: int = wire(Int(0, 2**32))
    held: int = wire(_NUMBER)
    flights: tuple[Flight, ...] = wire(Many(Nested(Flight), 0, _MOST))

    @property
    def vectors(self) -> frozenset[int]:
        """The numbers of all files that it names."""
        return frozenset((self.held, *(number for f in self.flights for number in (f.before, f.after)))) - {0}


class Residual:
    """One session's.

    Args:
        job: another one's residual is left behind.
        bundle: the same of another bundle; 32 bytes.
        size: parameters of the model.
        kept: its files, by name. Damaged ones are left behind, too: what is left behind is still private, and `tidied`
            has it overwritten or deleted.
    """

    def __init__(self, job: str, bundle: bytes, size: int, kept: Mapping[str, bytes] | None = None) -> None:
        self._job, self._bundle, self._size = job, bundle, size
        self._line = self._held = 0
        self._flights: dict[bytes, Flight] = {}
        self._vectors: dict[int, bytes] = {}
        files = kept or {}
        self._written = {number for number, name in enumerate(VECTORS, 1) if name in files}
        self._left_behind, self._leaves_nothing = bool(files), b""
        try:
            found = Kept.decode(files[RESIDUAL]) if RESIDUAL in files else None
            if found is None or (found.job, found.bundle) != (job, bundle):
                return
            self._vectors = {number: files.get(VECTORS[number - 1], b"") for number in found.vectors}
            for data in self._vectors.values():
                feedback.decode(data, size)
        except CodecError:
            self._vectors = {}
            return
        self._line, self._held, self._flights = found.line, found.held, {one.context: one for one in found.flights}
        self._left_behind = self._written != found.vectors  # a power cut came between two files

    def __repr__(self) -> str:
        return "Residual(...)"

    def tidied(self) -> tuple[Keep | Forget, ...]:
        """Have what was left behind go from the disk; at the start, before anything is made of files of an attempt."""
        return self._keep() if self._left_behind else ()

    def follows(self, update: Update) -> tuple[Keep | Forget, ...]:
        """Take what a training plan asks for; to be written before anything of its attempt.

        Where it feeds nothing back, or the model was rolled back, all that updates before have left out is dropped,
        and so is what is in flight: it would come too late, or bring back what was discarded.
        """
        if update.feedback and update.line == self._line:
            return ()
        self._line = update.line
        before = bool(self._held or self._flights)
        self._held, self._flights = 0, {}
        return self._keep() if before or self._left_behind else ()

    def base(self, context: bytes) -> Vector | None:
        """Return what is to be added to an attempt's change, float32 of shape (size,), or None.

        An attempt that is worked on once more had not sent its update: what was taken out for it is there again.
        """
        self._settle(context, included=False)
        return self._vector(self._held)

    def sends(self, context: bytes, left: Vector) -> tuple[Keep | Forget, ...]:
        """Put an update in flight that leaves `left`; to be written before MASKED.

        Args:
            context: the attempt's second one.
            left: what it leaves out, float32 of shape (size,).
        """
        if context == self._leaves_nothing:
            return ()
        self._flights[context] = Flight(context=context, before=self._held, after=self._new(left))
        self._held = 0
        return self._keep()

    def settled(self, context: bytes, *, included: bool) -> tuple[Keep | Forget, ...]:
        """Take what became of an update; twice is as good as once."""
        return self._keep() if self._settle(context, included=included) else ()

    def unknown(self, context: bytes) -> tuple[Keep | Forget, ...]:
        """Give up an update whose RESULT nobody will tell: what is in it, or was left by it, may not come again."""
        return self.only(other for other in self._flights if other != context)

    def only(self, contexts: Iterable[bytes]) -> tuple[Keep | Forget, ...]:
        """Give up all updates but those that are still asked for."""
        asked = set(contexts)
        gone = self._flights.keys() - asked
        for context in gone:
            del self._flights[context]
        return self._keep() if gone or self._left_behind else ()

    def erase(self, under_way: bytes = b"") -> tuple[Keep | Forget, ...]:
        """Forget all of it, as the examples that it came from go.

        Args:
            under_way: the second context of the attempt that is worked on, with these examples: its update leaves
                nothing either.
        """
        self._leaves_nothing = under_way
        before = bool(self._held or self._flights)
        self._held, self._flights = 0, {}
        return self._keep() if before or self._left_behind else ()

    def _settle(self, context: bytes, *, included: bool) -> bool:
        flight = self._flights.pop(context, None)
        if flight is None:
            return False
        back = flight.after if included else flight.before
        one, other = self._vector(self._held), self._vector(back)
        self._held = back if one is None else self._held if other is None else self._new(one + other)
        return True

    def _vector(self, number: int) -> Vector | None:
        return feedback.decode(self._vectors[number], self._size) if number else None

    def _new(self, vector: Vector) -> int:
        """Return the number of a vector, whose file may be no other's: not even of one that is named no more."""
        number = next(n for n in range(1, len(VECTORS) + 1) if n not in self._written | self._vectors.keys())
        self._vectors[number] = feedback.encode(vector)
        return number

    def _keep(self) -> tuple[Keep | Forget, ...]:
        """Write new vectors, then what names them, and delete last what it names no more."""
        kept = Kept(
            job=self._job,
            bundle=self._bundle,
            line=self._line,
            held=self._held,
            flights=tuple(self._flights.values()),
        )
        new, gone = sorted(kept.vectors - self._written), sorted(self._written - kept.vectors)
        self._vectors = {number: self._vectors[number] for number in kept.vectors}
        self._written, self._left_behind = set(kept.vectors), False
        return (
            *(Keep(name=VECTORS[number - 1], data=self._vectors[number]) for number in new),
            Keep(name=RESIDUAL, data=kept.encode()),
            *((Forget(names=tuple(VECTORS[number - 1] for number in gone)),) if gone else ()),
        )
