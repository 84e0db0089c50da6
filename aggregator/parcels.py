"""What travels between enrolment's machine and the aggregator's, as files: requests one way, answers the other.

Nothing in them is secret, and nobody believes them for where they lie: each letter inside is signed.
"""

from dataclasses import field
from typing import ClassVar

from accord.records import Many, Name, Nested, Octets, OneOf, Record
from accord.records import field as wire
from accord.values import dataclass
from accord.wire.enrolment import LARGEST_LETTER

MOST = 10_000
"""Requests or answers in one file."""
MOST_GONE = 100_000
"""Devices that are revoked."""
REQUESTS_FORM, ANSWERS_FORM = "enrol-requests/1", "enrol-answers/2"
APPROVED, REFUSED = "approved", "refused"


@dataclass(frozen=True, kw_only=True)
class Requests(Record):
    """The letters of devices that wait, as they came."""

    LIMIT: ClassVar[int] = 1 << 24

    form: str = wire(OneOf((REQUESTS_FORM,)))
    letters: tuple[bytes, ...] = wire(Many(Octets(1, LARGEST_LETTER), 0, MOST))


@dataclass(frozen=True, kw_only=True)
class Answer(Record):
    """What one device gets for one letter, known by its digest."""

    device: str = wire(Name())
    request: bytes = wire(Octets(32))
    status: str = wire(OneOf((APPROVED, REFUSED)))
    data: bytes = wire(Octets(1, 1 << 20))


@dataclass(frozen=True, kw_only=True)
class Answers(Record):
    """Answers, and who is revoked.

    Args:
        form: of this file.
        answers: to devices that ask.
        revocations: the newest revocation list, as enrolment signed it.
        crl: the newest list of revoked TLS certificates, PEM, as the transport CA signed it; empty if there is no CA.
        gone: the devices that are revoked now and not invited anew: they may log in at the broker no more.
    """

    LIMIT: ClassVar[int] = 1 << 28

    form: str = wire(OneOf((ANSWERS_FORM,)))
    answers: tuple[Answer, ...] = wire(Many(Nested(Answer), 0, MOST))
    revocations: bytes = wire(Octets(1, 1 << 20))
    crl: bytes = wire(Octets(0, 1 << 20))
    gone: tuple[str, ...] = wire(Many(Name(), 0, MOST_GONE))


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What enrolment decided about one letter: an answer, and the name of the reason if it was refused."""

    answer: Answer = field(repr=False)
    serial: int
    reason: str = ""
