"""Events of a coordinator as rows of the journal, and back."""

from collections.abc import Callable
from typing import ClassVar

from accord.errors import CodecError
from accord.records import Int, Many, Name, Nested, Octets, Record, Text, field
from accord.values import dataclass
from accord.wire.check_in import BIRTH
from aggregator.attendance import FIGURES, Figures
from aggregator.coordinator_values import Arrived, Event, Presence, Request, Start, Tick
from aggregator.journal import Entry
from aggregator.standing import Standing

MEASURED = "bytes"
"""The kind of a row that is not an event."""
HERE, GONE = b"\x01", b"\x00"


@dataclass(frozen=True, kw_only=True)
class Started(Record):
    """What a round began with; its request follows from where the job stands."""

    LIMIT: ClassVar[int] = 1 << 25

    online: tuple[str, ...] = field(Many(Name(), 0, 1 << 18))
    seed: bytes = field(Octets(32))
    checkpoint: bytes = field(Octets(1, 4_096))
    revocations: bytes = field(Octets(0, 1 << 20))

    def __repr__(self) -> str:
        return "Started(...)"


_NUMBER = Int(0, 2**32)


@dataclass(frozen=True, kw_only=True)
class Stands(Record):
    """Where a device stood when its CHECK-IN came."""

    serial: int = field(_NUMBER)
    identity: bytes = field(Octets(32))
    sequence: int = field(_NUMBER)
    birth: int = field(BIRTH)
    barred: str = field(Text(64))


@dataclass(frozen=True, kw_only=True)
class CheckedIn(Record):
    """A CHECK-IN of a device that was known."""

    letter: bytes = field(Octets(0, 1 << 16))
    stands: Stands = field(Nested(Stands))


@dataclass(frozen=True, kw_only=True)
class Measured(Record):
    """The bytes that the round under way has carried so far: not an event, and nothing follows from it."""

    LIMIT: ClassVar[int] = 128

    figures: tuple[int, ...] = field(Many(Int(0, 2**63), len(FIGURES), len(FIGURES)))


def measured(figures: Figures, now: float, clock: int) -> Entry:
    """Return the journal's row of a measurement."""
    return Entry(now=now, clock=clock, kind=MEASURED, data=Measured(figures=figures).encode())


def entry(event: Event, now: float, clock: int) -> Entry:
    """Return the journal's row of an event."""
    match event:
        case Start(online=online, seed=seed, checkpoint=checkpoint, revocations=revocations):
            started = Started(online=online, seed=seed, checkpoint=checkpoint, revocations=revocations)
            return Entry(now=now, clock=clock, kind="start", data=started.encode())
        case Arrived(device=device, data=data, standing=Standing() as known):
            stands = Stands(**{name: getattr(known, name) for name, _ in Stands.kinds()})
            checked_in = CheckedIn(letter=data, stands=stands)
            return Entry(now=now, clock=clock, kind="check-in", device=device, data=checked_in.encode())
        case Arrived(device=device, data=data):
            return Entry(now=now, clock=clock, kind="letter", device=device, data=data)
        case Presence(device=device, online=here):
            return Entry(now=now, clock=clock, kind="presence", device=device, data=HERE if here else GONE)
        case Tick():
            return Entry(now=now, clock=clock, kind="tick")


def event(row: Entry, request: Callable[[], Request | None]) -> Event:
    """Return the event of a row.

    Args:
        row: from the journal.
        request: what the job asks for in its next round.

    Raises:
        CodecError: no event of ours looks like this.
    """
    match row.kind:
        case "start":
            wanted = request()
            if wanted is None:
                raise CodecError("the journal begins a round after the last one")
            started = Started.decode(row.data)
            return Start(
                request=wanted,
                online=started.online,
                seed=started.seed,
                checkpoint=started.checkpoint,
                revocations=started.revocations,
            )
        case "check-in":
            found = CheckedIn.decode(row.data)
            known = Standing(**{name: getattr(found.stands, name) for name, _ in Stands.kinds()})
            return Arrived(device=row.device, data=found.letter, standing=known)
        case "letter":
            return Arrived(device=row.device, data=row.data)
        case "presence":
            return Presence(device=row.device, online=row.data == HERE)
        case "tick":
            return Tick()
    raise CodecError(f"the journal holds an event of kind {row.kind!r}: a newer Accord wrote it")
