"""One cohort of the secure sum's benchmark: its numbers, the keys that both sides know, and the meter of a side."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from accord.plan import CLASSIC, STANDARD, Graph
from accord.records import Record
from accord.secagg import hybrid
from accord.secagg.keys import KeyPair
from accord.signing import SigningKey
from accord.values import dataclass
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Revocations, Roles

CONTEXT = bytes(32)
NOW, EXPIRES = 1_800_000_000, 1_830_000_000
END = b""
"""What the fleet sends when no more letters of a stage come."""
VALUES = 2**8
BATCH = 4_000_000
"""Bytes of letters after which a batch is taken."""
AGGREGATOR, ENROLMENT = SigningKey(b"a" * 32), SigningKey(b"e" * 32)
ROLES = Roles(
    tenant="t",
    version=1,
    expires=EXPIRES,
    enrolment=ENROLMENT.public,
    aggregator=AGGREGATOR.public,
    publisher=bytes(32),
)
REVOCATIONS = Revocations(version=1, serials=())


@dataclass(frozen=True, kw_only=True)
class Case:
    """One cohort: how many devices, coordinates and bits, what share of them drops out, and who masks with whom."""

    clients: int
    size: int
    bits: int
    dropout: float
    graph: Graph
    seed: int
    profile: str = STANDARD
    keys: str = CLASSIC

    @property
    def names(self) -> list[str]:
        """The devices' ids."""
        return [f"dev-{i:04d}" for i in range(self.clients)]

    @property
    def seal(self) -> KeyPair:
        """The aggregator's pair, whose public half a plan would name."""
        return hybrid.pair_of(b"s" * 32, self.keys)

    @property
    def floor(self) -> int:
        """The smallest cohort that both sides accept."""
        return max(3, self.clients // 2)


WARM_UP = Case(clients=8, size=100, bits=16, dropout=0.2, graph=Graph(), seed=0)


class Meter:
    """Processor seconds of this process inside `with meter.on():`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def on(self) -> Iterator[None]:
        since = time.process_time()
        yield
        self.seconds += time.process_time() - since


def sealed(message: Record, key: SigningKey, sender: str, recipient: str, context: bytes) -> bytes:
    """Return a signed letter, encoded."""
    tag = TAG_OF[type(message)]
    return seal(tag, message.encode(), key=key, sender=sender, recipient=recipient, context=context).encode()


def taken(data: bytes, public: bytes) -> Envelope:
    """Return a letter whose signature holds."""
    letter = Envelope.decode(data)
    letter.check(public)
    return letter
