"""A cohort with ML-KEM beside X25519, whose devices drop out or lie where a story says."""

import numpy as np

from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.plan import HYBRID, STRICT
from accord.secagg import client, hybrid, server
from accord.secagg.authority import Authority
from accord.secagg.cohort import new_roster
from accord.secagg.confirming import Confirming
from accord.secagg.members import member_of
from accord.signing import SigningKey
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF, Certificate, Revocations, Roles
from accord.wire.secure_sum import Consistency, Masked

ENROLMENT = SigningKey(b"e" * 32)
ROLES = Roles(tenant="t", version=3, expires=100, enrolment=ENROLMENT.public, aggregator=bytes(32), publisher=bytes(32))
AUTHORITY = Authority(roles=ROLES, revocations=Revocations(version=1, serials=()), now=10)
CONTEXT, BITS, LENGTH = b"1" * 32, 20, 5
SEAL = hybrid.pair_of(b"a" * 32, HYBRID)


def identity_of(number: int) -> SigningKey:
    return SigningKey(SeededEntropy(number)(32))


def name_of(number: int) -> str:
    return f"dev-{number:03d}"


def device(number: int, suite: str = HYBRID) -> client.Joining:
    name, identity = name_of(number), identity_of(number)
    body = Certificate(device=name, identity=identity.public, serial=1, expires=50)
    letter = seal(TAG_OF[Certificate], body.encode(), key=ENROLMENT, sender="enrolment", recipient=name)
    return client.Joining(name, identity, letter.encode(), CONTEXT, SeededEntropy(number).child("join"), suite=suite)


def dealt(n: int, profile: str = "standard") -> list[client.Sharing]:
    """Return every member's stage with its SHARE."""
    joining = [device(i) for i in range(n)]
    roster = new_roster("c-1", profile, [member_of(d.letter) for d in joining])
    return [d.roster(roster, AUTHORITY, profile=profile, floor=3, cap=100) for d in joining]


class Story:
    """One cohort, whose devices drop out where the story says."""

    def __init__(self, n: int, profile: str = "standard") -> None:
        self.sharing = dealt(n, profile)
        self.cohort = self.sharing[0].cohort
        self.vectors = [np.arange(LENGTH, dtype=np.uint32) * (i + 1) for i in range(n)]
        self.messages = [stage.message for stage in self.sharing]
        self.refused: dict[int, str] = {}

    def sum(self, *, masked: set[int], answer: set[int] | None = None, dealt: set[int] | None = None) -> np.ndarray:
        """Return the opened sum of those of `masked` who did not refuse what they were dealt."""
        everyone = set(range(len(self.sharing)))
        stage = server.Sharing(self.cohort, 3)
        for place in sorted(everyone if dealt is None else dealt):
            stage.add(name_of(place), self.messages[place])
        collecting, shares = stage.close()
        waiting = {}
        for place in sorted(masked & (everyone if dealt is None else dealt)):
            try:
                masking = self.sharing[place].shares(shares[name_of(place)])
            except Refusal as refusal:
                self.refused[place] = refusal.reason
                continue
            waiting[place], vector, dealers = masking.mask(self.vectors[place], BITS)
            collecting.add(name_of(place), Masked(dealers=dealers, vector=vector.tobytes()), vector)
        unmasking, survivors = collecting.close()
        self.expected = sum(self.vectors[place] for place in waiting) % 2**BITS
        if self.cohort.profile == STRICT:
            confirming, confirmed = Confirming(unmasking, survivors), {}
            for place, one in waiting.items():
                confirmed[place], message = one.confirm(survivors)
                confirming.add(name_of(place), message, self.signature(place, message))
            unmasking, quorum = confirming.close()
            answers = {place: one.quorum(quorum, SEAL.public)[1] for place, one in confirmed.items()}
        else:
            answers = {place: one.survivors(survivors, SEAL.public)[1] for place, one in waiting.items()}
        for place, message in answers.items():
            if answer is None or place in answer:
                unmasking.add(name_of(place), message, SEAL)
        return unmasking.close(BITS)

    def signature(self, place: int, message: Consistency) -> bytes:
        return seal(
            TAG_OF[Consistency],
            message.encode(),
            key=identity_of(place),
            sender=name_of(place),
            recipient="aggregator",
            context=self.cohort.context,
        ).signature
