"""A device's residual on its way through attempts: what is added next, and what may be in a sum that is not told yet.

Whatever is added to an update is taken out and is in flight until RESULT: *included* puts back what the update left
out, *not included* what was taken out, and where nobody knows it stays out. So nothing is ever in two sums. All of it
is one file, which is written before MASKED leaves: a power cut finds it as it was before or after, never in between.
"""

from collections.abc import Iterable
from typing import ClassVar

from accord.errors import CodecError
from accord.plan import Update
from accord.records import Int, Many, Name, Nested, Octets, Record
from accord.records import field as wire
from accord.tensors import Vector
from accord.update import feedback
from accord.values import dataclass
from edge_sdk.session_values import Keep

RESIDUAL = "residual"
"""The file's name."""
_VECTOR = Octets(0, 1 << 30)
_MOST = 2
"""The attempt under way, and the one before whose RESULT has not come."""


@dataclass(frozen=True, kw_only=True)
class Flight(Record):
    """An update that was sent, by the attempt's second context: the residual before it, and the one that it leaves."""

    LIMIT: ClassVar[int] = 1 << 32

    context: bytes = wire(Octets(32))
    before: bytes = wire(_VECTOR)
    after: bytes = wire(_VECTOR)

    def __repr__(self) -> str:
        return "Flight(...)"


@dataclass(frozen=True, kw_only=True)
class Kept(Record):
    """The file: whose residual it is, of which line of the model, what is held (no bytes: nothing), and in flight."""

    LIMIT: ClassVar[int] = 1 << 32

    job: str = wire(Name())
    bundle: bytes = wire(Octets(32))
    line: int = wire(Int(0, 2**32))
    held: bytes = wire(_VECTOR)
    flights: tuple[Flight, ...] = wire(Many(Nested(Flight), 0, _MOST))

    def __repr__(self) -> str:
        return "Kept(...)"


class Residual:
    """One session's.

    Args:
        job: another one's residual is left behind.
        bundle: the same of another bundle; 32 bytes.
        size: parameters of the model.
        kept: the file; empty if there is none. A damaged one is left behind, too: what is left behind is still private,
            and `only` and `erase` have it overwritten.
    """

    def __init__(self, job: str, bundle: bytes, size: int, kept: bytes = b"") -> None:
        self._job, self._bundle, self._size = job, bundle, size
        self._line, self._held = 0, b""
        self._flights: dict[bytes, Flight] = {}
        self._left_behind, self._leaves_nothing = bool(kept), b""
        try:
            found = Kept.decode(kept) if kept else None
            for data in () if found is None else (found.held, *(v for f in found.flights for v in (f.before, f.after))):
                self._vector(data)
        except CodecError:
            return
        if found is not None and (found.job, found.bundle) == (job, bundle):
            self._line, self._held = found.line, found.held
            self._flights = {flight.context: flight for flight in found.flights}
            self._left_behind = False

    def __repr__(self) -> str:
        return "Residual(...)"

    def follows(self, update: Update) -> tuple[Keep, ...]:
        """Take what a training plan asks for; to be written before anything of its attempt.

        Where it feeds nothing back, or the model was rolled back, all that updates before have left out is dropped,
        and so is what is in flight: it would come too late, or bring back what was discarded.
        """
        if update.feedback and update.line == self._line:
            return ()
        self._line = update.line
        before = bool(self._held or self._flights)
        self._held, self._flights = b"", {}
        return self._keep() if before or self._left_behind else ()

    def base(self, context: bytes) -> Vector | None:
        """Return what is to be added to an attempt's change, float32 of shape (size,), or None.

        An attempt that is worked on once more had not sent its update: what was taken out for it is there again.
        """
        self._settle(context, included=False)
        return self._vector(self._held)

    def sends(self, context: bytes, left: Vector) -> tuple[Keep, ...]:
        """Put an update in flight that leaves `left`; to be written before MASKED.

        Args:
            context: the attempt's second one.
            left: what it leaves out, float32 of shape (size,).
        """
        if context == self._leaves_nothing:
            return ()
        self._flights[context] = Flight(context=context, before=self._held, after=feedback.encode(left))
        self._held = b""
        return self._keep()

    def settled(self, context: bytes, *, included: bool) -> tuple[Keep, ...]:
        """Take what became of an update; twice is as good as once."""
        return self._keep() if self._settle(context, included=included) else ()

    def unknown(self, context: bytes) -> tuple[Keep, ...]:
        """Give up an update whose RESULT nobody will tell: what is in it, or was left by it, may not come again."""
        return self.only(other for other in self._flights if other != context)

    def only(self, contexts: Iterable[bytes]) -> tuple[Keep, ...]:
        """Give up all updates but those that are still asked for."""
        asked = set(contexts)
        gone = self._flights.keys() - asked
        for context in gone:
            del self._flights[context]
        return self._keep() if gone or self._left_behind else ()

    def erase(self, under_way: bytes = b"") -> tuple[Keep, ...]:
        """Forget all of it, as the examples that it came from go.

        Args:
            under_way: the second context of the attempt that is worked on, with these examples: its update leaves
                nothing either.
        """
        self._leaves_nothing = under_way
        before = bool(self._held or self._flights)
        self._held, self._flights = b"", {}
        return self._keep() if before or self._left_behind else ()

    def _settle(self, context: bytes, *, included: bool) -> bool:
        flight = self._flights.pop(context, None)
        if flight is None:
            return False
        back = flight.after if included else flight.before
        one, other = self._vector(self._held), self._vector(back)
        self._held = back if one is None else self._held if other is None else feedback.encode(one + other)
        return True

    def _vector(self, data: bytes) -> Vector | None:
        return feedback.decode(data, self._size) if data else None

    def _keep(self) -> tuple[Keep, ...]:
        self._left_behind = False
        kept = Kept(
            job=self._job, bundle=self._bundle, line=self._line, held=self._held, flights=tuple(self._flights.values())
        )
        return (Keep(name=RESIDUAL, data=kept.encode()),)
