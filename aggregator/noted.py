"""Events of a coordinator as rows of the journal, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from accord.errors import CodecError
from accord.records import Many, Name, Octets, Record, field
from aggregator.coordinator_values import Arrived, Event, Presence, Request, Start, Tick
from aggregator.journal import Entry

HERE, GONE = b"\x01", b"\x00"


@dataclass(frozen=True, kw_only=True)
class Started(Record):
    """What a round began with; its request follows from where the job stands."""

    LIMIT: ClassVar[int] = 1 << 25

    online: tuple[str, ...] = field(Many(Name(), 0, 1 << 18))
    seed: bytes = field(Octets(32))
    checkpoint: bytes = field(Octets(1, 4_096))

    def __repr__(self) -> str:
        return "Started(...)"


def entry(event: Event, now: float, clock: int) -> Entry:
    """Return the journal's row of an event."""
    match event:
        case Start(online=online, seed=seed, checkpoint=checkpoint):
            started = Started(online=online, seed=seed, checkpoint=checkpoint)
            return Entry(now=now, clock=clock, kind="start", data=started.encode())
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
            return Start(request=wanted, online=started.online, seed=started.seed, checkpoint=started.checkpoint)
        case "letter":
            return Arrived(device=row.device, data=row.data)
        case "presence":
            return Presence(device=row.device, online=row.data == HERE)
        case "tick":
            return Tick()
    raise CodecError(f"the journal holds an event of kind {row.kind!r}: a newer Accord wrote it")
