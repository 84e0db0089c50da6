"""Lies told to a device that asks for a certificate: by the aggregator, by strangers, and by enrolment's old papers."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from recorded_fleet import CLOCK, KEYS, SEED
from taped import STRANGER, Case, Named

from accord import prg
from accord.records import Record
from accord.signing import SigningKey
from accord.wire.enrolment import ENROLMENT, Declined, Enrol, Enrolled, token_key
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF, Certificate, Later, Revocations

ME = "pi-7"
KEY = SigningKey(SEED.child("enrolled")(32))
NONCE = SEED.child("enrol nonce")(16)
PROOF = token_key(SEED.child("token")(32), ME).proof(KEY.public, NONCE)


def sealed(message: Record, key: SigningKey = KEYS.enrolment, sender: str = ENROLMENT, recipient: str = ME) -> bytes:
    """Return a signed letter."""
    return seal(TAG_OF[type(message)], message.encode(), key=key, sender=sender, recipient=recipient).encode()


ASKED = sealed(Enrol(device=ME, identity=KEY.public, nonce=NONCE, proof=PROOF, csr=b""), KEY, ME, ENROLMENT)


def paper(key: SigningKey = KEYS.enrolment, **changes: Any) -> bytes:
    """Return the device's certificate, with other fields or of another key."""
    fields = {"device": ME, "identity": KEY.public, "serial": 5, "expires": CLOCK + 100}
    return sealed(Certificate(**(fields | changes)), key)


GOOD = Enrolled(
    request=prg.digest(ASKED),
    certificate=paper(),
    roles=KEYS.roles(),
    revocations=KEYS.revocations(2, (3, 4)),
    transport=b"",
)
NO = Declined(request=prg.digest(ASKED), reason="InvitationSpent", roles=KEYS.roles())
STRANGERS = dataclasses.replace(KEYS, root=STRANGER, enrolment=STRANGER)
VOUCHED = dataclasses.replace(KEYS, enrolment=KEYS.aggregator)


def told(about: str, answer: bytes, **state: Any) -> Case:
    """Return a case at a device that waits."""
    return {"about": about, "door": "enrolment", "state": {"asked": ASKED.hex(), **state}, "feed": [answer.hex()]}


def good(**changes: Any) -> Enrolled:
    """Return the answer with other fields."""
    return dataclasses.replace(GOOD, **changes)


def cases() -> Iterator[Named]:
    """Yield every case."""
    yield "Declined", told("an invitation that was used before", sealed(NO))
    yield "ForeignAnswer", told("a letter that answers nothing", sealed(Later(nonce=bytes(16), reason="")))
    yield "ForeignAnswer", told("an answer to another request", sealed(good(request=bytes(32))))
    yield "ForeignAnswer", told("an answer to another device", sealed(GOOD, recipient="pi-8"))
    yield "ForeignAnswer", told("a refusal of another request", sealed(dataclasses.replace(NO, request=bytes(32))))
    yield "BadSignature", told("the aggregator answers itself", sealed(GOOD, KEYS.aggregator))
    yield "BadSignature", told("the aggregator refuses itself", sealed(NO, KEYS.aggregator))
    vouched = good(certificate=paper(KEYS.aggregator))
    yield "NotEnrolled", told("the aggregator vouches, and enrolment carries it", sealed(vouched))
    yield "NotTheRoot", told("a stranger's whole fleet", sealed(good(roles=STRANGERS.roles()), STRANGER))
    own = dataclasses.replace(VOUCHED, root=KEYS.aggregator)
    yield "NotTheRoot", told("roles by the aggregator", sealed(good(roles=own.roles()), KEYS.aggregator))
    yield "OldRoles", told("roles that go back", sealed(GOOD), roles_version=2)
    yield "Expired", told("roles that have ended", sealed(GOOD), now=CLOCK + 1_000)
    yield "Expired", told("a certificate that has ended", sealed(good(certificate=paper(expires=CLOCK))))
    yield "Revoked", told("a certificate that is revoked", sealed(good(certificate=paper(serial=4))))
    yield "NotEnrolled", told("another device's certificate", sealed(good(certificate=paper(device="pi-8"))))
    yield "NotEnrolled", told("a certificate for another key", sealed(good(certificate=paper(identity=bytes(32)))))
    yield "OldRevocations", told("a list that goes back", sealed(GOOD), revocations_version=3)
    listed = sealed(Revocations(version=9, serials=()), KEYS.aggregator, recipient="t")
    yield "BadSignature", told("a list of the aggregator's", sealed(good(revocations=listed)))
    yield "ForeignTenant", told("another tenant's roles", sealed(GOOD), tenant="u")
    yield "BadMessage", told("noise", b"\xff")
