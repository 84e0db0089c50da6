"""What a device writes of an attempt so that it can come back into it: one record per file, none read by anybody else.

`joined` holds the seed from which every secret of the attempt is derived; it is deleted once the answer is written.
See docs/protocol.md, section 10.
"""

from dataclasses import field
from typing import ClassVar

from accord.plan import LARGEST_COHORT
from accord.records import Octets, Record
from accord.records import field as wire
from accord.values import dataclass

LETTER = Octets(1, 1 << 22)
SEED = Octets(32)


@dataclass(frozen=True, kw_only=True)
class Joined(Record):
    """Written before JOIN leaves: the seed, our certificate, and the letters of the aggregator that made us join."""

    LIMIT: ClassVar[int] = 1 << 23

    seed: bytes = wire(SEED)
    certificate: bytes = wire(Octets(1, 512))
    opening: bytes = wire(LETTER)
    offer: bytes = wire(LETTER)

    def __repr__(self) -> str:
        return "Joined(...)"


@dataclass(frozen=True, kw_only=True)
class Shared(Record):
    """Written before SHARE leaves; in profile `off`, which has no SHARE, before the work begins."""

    LIMIT: ClassVar[int] = 1 << 23

    roster: bytes = wire(LETTER)
    letter: bytes = wire(Octets(0, 1 << 22))


@dataclass(frozen=True, kw_only=True)
class MaskedOnce(Record):
    """Written before MASKED leaves: nothing else is ever masked with the keys of this attempt."""

    LIMIT: ClassVar[int] = 1 << 31

    shares: bytes = wire(Octets(0, 1 << 22))
    letter: bytes = wire(Octets(1, (1 << 31) - (1 << 23)))


@dataclass(frozen=True, kw_only=True)
class ConfirmedOnce(Record):
    """Written before CONSISTENCY leaves, in profile `strict`: no other survivor set is ever signed in this attempt."""

    LIMIT: ClassVar[int] = 1 << 13

    survivors: bytes = wire(Octets(1, 1 << 12))
    letter: bytes = wire(Octets(1, 1 << 11))


@dataclass(frozen=True, kw_only=True)
class AnsweredOnce(Record):
    """Written before UNMASK leaves; the seed is deleted next, so that no second answer can be made."""

    LIMIT: ClassVar[int] = 1 << 20

    opening: bytes = wire(LETTER)
    context: bytes = wire(Octets(32))
    survivors: bytes = wire(Octets(0, LARGEST_COHORT // 8))
    letter: bytes = wire(Octets(1, 1 << 19))


@dataclass(frozen=True, kw_only=True)
class WithdrewOnce(Record):
    """Written before WITHDRAW leaves; the seed is deleted next, so that no vector can follow it."""

    LIMIT: ClassVar[int] = 1 << 18

    opening: bytes = wire(Octets(1, 1 << 16))
    context: bytes = wire(Octets(32))
    letter: bytes = wire(Octets(1, 1 << 16))


@dataclass(frozen=True, kw_only=True)
class Unsettled(Record):
    """Written when a later attempt takes the place of one whose vector was sent and whose RESULT has not come."""

    LIMIT: ClassVar[int] = 1 << 17

    opening: bytes = wire(Octets(1, 1 << 16))
    context: bytes = wire(Octets(32))
    survivors: bytes = wire(Octets(0, LARGEST_COHORT // 8))


FILES: dict[str, type[Record]] = {
    "joined": Joined,
    "shared": Shared,
    "masked": MaskedOnce,
    "confirmed": ConfirmedOnce,
    "answered": AnsweredOnce,
    "withdrawn": WithdrewOnce,
}
"""The files of an attempt, in the order in which they are written; it ends with one of the last two."""
UNSETTLED = "unsettled"
EVERY_FILE = (*FILES, UNSETTLED)
"""Those of the attempt, and that of the one before."""
SECRET_FILES = ("joined", "shared", "masked", "confirmed")
"""Of no use, and not to be found on a stolen card, once the answer or the withdrawal is written."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What was found of an attempt after a restart; a file that is not there is None."""

    joined: Joined | None = None
    shared: Shared | None = field(default=None, repr=False)
    masked: MaskedOnce | None = field(default=None, repr=False)
    confirmed: ConfirmedOnce | None = field(default=None, repr=False)
    answered: AnsweredOnce | None = field(default=None, repr=False)
    withdrawn: WithdrewOnce | None = field(default=None, repr=False)
    unsettled: Unsettled | None = None
