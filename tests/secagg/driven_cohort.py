"""A cohort of devices and its aggregator, driven stage by stage."""

import numpy as np

from accord.entropy import SeededEntropy
from accord.errors import Aborted
from accord.secagg import client, keys, server
from accord.secagg.authority import Authority
from accord.secagg.cohort import Cohort, new_roster, verified
from accord.secagg.confirming import Confirming
from accord.secagg.members import member_of
from accord.signing import SigningKey
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF, Certificate, Revocations, Roles
from accord.wire.secure_sum import Consistency, Masked, Member, Result, Survivors

ROOT, ENROLMENT = SigningKey(b"r" * 32), SigningKey(b"e" * 32)
ROLES = Roles(tenant="t", version=3, expires=100, enrolment=ENROLMENT.public, aggregator=bytes(32), publisher=bytes(32))
AUTHORITY = Authority(roles=ROLES, revocations=Revocations(version=1, serials=(99,)), now=10)
CONTEXT = b"1" * 32
SEAL = keys.KeyPair(b"a" * 32)


def answer_key(cohort: Cohort, place: int) -> bytes:
    """Return the key under which a member's answer is sealed, as the aggregator has it."""
    return keys.direction_key(
        SEAL,
        cohort.seal_keys[place],
        label="unmask",
        context=cohort.context,
        sender=cohort.devices[place],
        recipient="aggregator",
    )


LENGTH, BITS = 5, 20


def certificate(device: str, identity: SigningKey, **changes: int) -> bytes:
    fields = {"serial": 1, "expires": 50} | changes
    body = Certificate(device=device, identity=identity.public, **fields)
    return seal(TAG_OF[Certificate], body.encode(), key=ENROLMENT, sender="enrolment", recipient=device).encode()


def identity_of(number: int) -> SigningKey:
    return SigningKey(SeededEntropy(number)(32))


def device(number: int, context: bytes = CONTEXT) -> client.Joining:
    entropy = SeededEntropy(number)
    identity = SigningKey(entropy(32))
    name = f"dev-{number:03d}"
    return client.Joining(name, identity, certificate(name, identity), context, entropy)


def member(joining: client.Joining) -> Member:
    return member_of(joining.letter)


class Fleet:
    """A cohort of n, driven stage by stage."""

    def __init__(self, n: int, profile: str = "standard") -> None:
        self.profile = profile
        self.joining = [device(i) for i in range(n)]
        self.roster = new_roster("c-1", profile, [member(d) for d in self.joining])
        self.cohort = verified(self.roster, CONTEXT, profile, AUTHORITY)
        self.vectors = [np.arange(LENGTH, dtype=np.uint32) * (i + 1) for i in range(n)]

    def share(self, n: int) -> list[client.Sharing]:
        return [d.roster(self.roster, AUTHORITY, profile=self.profile, floor=3, cap=100) for d in self.joining[:n]]

    def mask(self) -> tuple[server.Collecting, list[client.Masking]]:
        stage = server.Sharing(self.cohort, 3)
        sharing = self.share(len(self.joining))
        for d, s in zip(self.joining, sharing, strict=True):
            stage.add(d.device, s.message)
        collecting, shares = stage.close()
        return collecting, [s.shares(shares[d.device]) for d, s in zip(self.joining, sharing, strict=True)]

    def unmask(self, gone: int = 0) -> tuple[server.Unmasking, Survivors, list[client.Unmasking]]:
        collecting, masking = self.mask()
        waiting = []
        for d, m, v in list(zip(self.joining, masking, self.vectors, strict=True))[gone:]:
            following, masked, dealers = m.mask(v, BITS)
            collecting.add(d.device, Masked(dealers=dealers, vector=masked.tobytes()), masked)
            waiting.append(following)
        unmasking, survivors = collecting.close()
        return unmasking, survivors, waiting

    def signature(self, place: int, message: Consistency, context: bytes = b"") -> bytes:
        """Sign a confirmation as its device does: by its letter."""
        return seal(
            TAG_OF[Consistency],
            message.encode(),
            key=identity_of(place),
            sender=self.joining[place].device,
            recipient="aggregator",
            context=context or self.cohort.context,
        ).signature

    def confirm(
        self, gone: int = 0
    ) -> tuple[Confirming, Survivors, list[tuple[client.Confirmed, tuple[Consistency, bytes]]]]:
        """Return the stage that waits for confirmations, and each survivor's, with its stage behind."""
        unmasking, survivors, waiting = self.unmask(gone)
        found = []
        for place, one in enumerate(waiting, gone):
            confirmed, message = one.confirm(survivors)
            found.append((confirmed, (message, self.signature(place, message))))
        return Confirming(unmasking, survivors), survivors, found


def cohort_with_dropouts(n: int, rate: float, seed: int) -> str:  # noqa: C901 - one story, stage by stage
    """Run one cohort in which each device drops out at each stage with chance `rate`; return why it aborted, or ""."""
    rng = np.random.default_rng(seed)
    lost = [[bool(rng.random() < rate) for _ in range(3)] for _ in range(n)]
    fleet = Fleet(n)
    stage, sharing = server.Sharing(fleet.cohort, 3), {}
    for i, d in enumerate(fleet.joining):
        if not lost[i][0]:
            sharing[i] = d.roster(fleet.roster, AUTHORITY, profile="standard", floor=3, cap=100)
            for _ in range(2):  # QoS 1 may deliver twice
                stage.add(d.device, sharing[i].message)
    expected, reason = None, ""
    try:
        collecting, shares = stage.close()
        waiting = {}
        for i, s in sharing.items():
            masking = s.shares(shares[fleet.joining[i].device])
            if not lost[i][1]:
                waiting[i], masked, dealers = masking.mask(fleet.vectors[i], BITS)
                for _ in range(2):
                    collecting.add(fleet.joining[i].device, Masked(dealers=dealers, vector=masked.tobytes()), masked)
        unmasking, survivors = collecting.close()
        expected = sum(fleet.vectors[i] for i in waiting) % 2**BITS
        for i, u in waiting.items():
            if not lost[i][2]:
                answered, answer = u.survivors(survivors, SEAL.public)
                for _ in range(2):
                    unmasking.add(fleet.joining[i].device, answer, SEAL)
                closed = Result(
                    status="closed", reason="", included=True, survivors=survivors.survivors, transcript=bytes(32)
                )
                assert answered.result(closed)
        total = unmasking.close(BITS)
    except Aborted as abort:
        reason = abort.reason
    else:
        assert (total == expected).all()
        assert not unmasking.wrong_holders
    assert not reason or (rate > 0 and reason in {"TooFewShares", "TooFewVectors", "TooFewAnswers"})
    return reason
