"""The secure sum as a whole: any dropouts at any stage give the exact sum or an abort by name, never a wrong number."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import Aborted, Refusal
from accord.secagg import client, keys, server
from accord.secagg.authority import Authority, trusted_roles
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


@settings(max_examples=150, deadline=None)
@given(st.integers(3, 40), st.floats(0, 0.5), st.integers(0, 2**32))
def test_exact_sum_or_named_abort(n: int, rate: float, seed: int) -> None:
    cohort_with_dropouts(n, rate, seed)


def refused(reason: str) -> pytest.RaisesExc[Refusal]:
    return pytest.raises(Refusal, match=reason)


def test_a_device_refuses_a_lying_roster() -> None:
    def lie(reason: str, **changes: object) -> None:
        fleet = Fleet(4)
        with refused(reason):
            fleet.joining[0].roster(
                dataclasses.replace(fleet.roster, **changes), AUTHORITY, profile="standard", floor=3, cap=100
            )

    members = Fleet(4).roster.members
    lie("WrongRule", threshold=2)
    lie("WrongRule", neighbours=1)
    lie("WrongRule", profile="off")
    lie("WrongRule", members=members[:2])
    lie("WrongRule", members=members[:3])
    lie("DuplicateMember", members=(members[0], members[0], *members[2:]))
    lie("DuplicateMember", members=members[::-1])
    lie("ForgedJoin", members=(*members[:3], dataclasses.replace(members[3], signature=bytes(64))))
    lie("ForgedJoin", members=(*members[:3], member(device(3, b"2" * 32))))
    lie("NotEnrolled", members=(*members[:3], dataclasses.replace(members[3], device="dev-x")))
    lie("NotInRoster", members=(*members[1:], member(device(9))))
    fleet = Fleet(4)
    with refused("SmallCohort"):
        fleet.joining[0].roster(fleet.roster, AUTHORITY, profile="standard", floor=5, cap=100)
    with refused("LargeCohort"):
        Fleet(4).joining[0].roster(fleet.roster, AUTHORITY, profile="standard", floor=3, cap=3)
    with refused("RosterChanged"):
        fleet.joining[0].roster(fleet.roster, AUTHORITY, profile="standard", floor=3, cap=100)


@pytest.mark.parametrize(("reason", "changes"), [("Expired", {"expires": 10}), ("Revoked", {"serial": 99})])
def test_certificates_that_do_not_hold(reason: str, changes: dict[str, int]) -> None:
    with refused(reason):
        AUTHORITY.certificate(certificate("dev-1", SigningKey(b"i" * 32), **changes), "dev-1")


def test_a_neighbours_certificate_and_a_strangers_are_refused() -> None:
    data = certificate("dev-1", SigningKey(b"i" * 32))
    for _ in range(2):  # fresh and cached alike
        with refused("NotEnrolled"):
            AUTHORITY.certificate(data, "dev-2")
    with refused("NotEnrolled"):
        AUTHORITY.certificate(data[:-1] + b"?", "dev-1")


def test_duplicate_keys_are_refused() -> None:
    identity, entropy = SigningKey(b"i" * 32), SeededEntropy(1)
    twins = [client.Joining(n, identity, certificate(n, identity), CONTEXT, entropy) for n in ("a", "b", "c")]
    with refused("DuplicateKey"):
        verified(new_roster("c-1", "standard", [member(t) for t in twins]), CONTEXT, "standard", AUTHORITY)


def test_a_device_refuses_lying_shares_and_survivors() -> None:
    def shares(reason: str, **changes: object) -> None:
        fleet = Fleet(5)
        sharing = fleet.share(5)
        stage = server.Sharing(fleet.cohort, 3)
        for d, s in zip(fleet.joining, sharing, strict=True):
            stage.add(d.device, s.message)
        honest = stage.close()[1]["dev-000"]
        with refused(reason):
            sharing[0].shares(dataclasses.replace(honest, **changes))
        with refused("SharesChanged"):
            sharing[0].shares(honest)

    fleet = Fleet(5)
    shares("NotADealer", dealers=fleet.cohort.bitmap([1, 2, 3, 4]))
    shares("SmallCohort", dealers=fleet.cohort.bitmap([0, 1]))
    shares("MissingShare", dealers=fleet.cohort.bitmap([0, 1, 2, 3]))
    shares("BadSeal", sealed=(bytes(80),) * 4)
    shares("BadBitmap", dealers=b"\xff")
    shares("BadBitmap", dealers=b"\x01\x00")

    for reason, bitmap in [("CalledDead", b"\x1e"), ("SmallCohort", b"\x03"), ("BadBitmap", b"\x3f")]:
        waiting = Fleet(5).unmask()[2]
        with refused(reason):
            waiting[0].survivors(Survivors(survivors=bitmap), SEAL.public)
        with refused("AnsweredBefore"):
            waiting[0].survivors(Survivors(survivors=b"\x1f"), SEAL.public)


def test_nobody_survives_who_did_not_share() -> None:
    fleet = Fleet(5)
    stage, sharing = server.Sharing(fleet.cohort, 3), fleet.share(4)
    for d, s in zip(fleet.joining, sharing, strict=False):
        stage.add(d.device, s.message)
    _, answers = stage.close()
    following, _, _ = sharing[0].shares(answers["dev-000"]).mask(fleet.vectors[0], BITS)
    with refused("NotASharer"):
        following.survivors(Survivors(survivors=b"\x1f"), SEAL.public)


def test_no_second_mask_and_a_result_must_fit() -> None:
    _, masking = Fleet(3).mask()
    masking[0].mask(np.zeros(LENGTH, np.uint32), BITS)
    with refused("MaskedBefore"):
        masking[0].mask(np.ones(LENGTH, np.uint32), BITS)

    good = Result(status="closed", reason="", included=True, survivors=b"\x07", transcript=bytes(32))
    for changes in [{"included": False}, {"survivors": b"\x03"}, {"status": "aborted"}]:
        _, survivors, waiting = Fleet(3).unmask()
        answered, _ = waiting[0].survivors(survivors, SEAL.public)
        with refused("ResultContradicts"):
            answered.result(dataclasses.replace(good, **changes))


def test_a_wrong_holder_is_skipped_and_a_wrong_dealer_named() -> None:
    fleet = Fleet(5)
    unmasking, survivors, waiting = fleet.unmask(gone=1)
    answers = [u.survivors(survivors, SEAL.public)[1] for u in waiting]
    with refused("BadSeal"):
        unmasking.add("dev-001", answers[1], SEAL)
    for name, answer in zip(["dev-002", "dev-003", "dev-004"], answers[1:], strict=True):
        unmasking.add(name, answer, SEAL)
    assert unmasking.wrong_holders == {"dev-001"}
    assert (unmasking.close(BITS) == sum(fleet.vectors[1:])).all()
    with refused("NotASurvivor"):
        unmasking.add("dev-000", answers[0], SEAL)

    fleet = Fleet(3)
    sharing = fleet.share(3)
    stage = server.Sharing(fleet.cohort, 3)
    stage.add("dev-000", dataclasses.replace(sharing[0].message, commitment=bytes(32)))
    stage.add("dev-001", sharing[1].message)
    stage.add("dev-002", sharing[2].message)
    collecting, shares = stage.close()
    waiting = []
    for i, s in enumerate(sharing):
        following, masked, dealers = s.shares(shares[f"dev-00{i}"]).mask(fleet.vectors[i], BITS)
        collecting.add(f"dev-00{i}", Masked(dealers=dealers, vector=masked.tobytes()), masked)
        waiting.append(following)
    unmasking, survivors = collecting.close()
    for i, u in enumerate(waiting):
        unmasking.add(f"dev-00{i}", u.survivors(survivors, SEAL.public)[1], SEAL)
    with pytest.raises(Aborted, match="WrongDealer: dev-000"):
        unmasking.close(BITS)


def test_the_server_refuses_changed_and_foreign_messages() -> None:
    fleet = Fleet(4)
    sharing = fleet.share(4)
    stage = server.Sharing(fleet.cohort, 3)
    with refused("WrongShape"):
        stage.add("dev-000", dataclasses.replace(sharing[0].message, sealed=()))
    with refused("NotAMember"):
        stage.add("dev-900", sharing[0].message)
    stage.add("dev-000", sharing[0].message)
    with refused("SharesChanged"):
        stage.add("dev-000", dataclasses.replace(sharing[0].message, commitment=bytes(32)))
    with pytest.raises(Aborted, match="TooFewShares"):
        stage.close()
    for i in (1, 2):
        stage.add(f"dev-00{i}", sharing[i].message)
    collecting, shares = stage.close()
    _, masked, dealers = sharing[0].shares(shares["dev-000"]).mask(fleet.vectors[0], BITS)
    good = Masked(dealers=dealers, vector=masked.tobytes())
    with refused("NotADealer"):
        collecting.add("dev-003", good, masked)
    with refused("WrongDealers"):
        collecting.add("dev-000", dataclasses.replace(good, dealers=b"\x0f"), masked)
    collecting.add("dev-000", good, masked)
    with refused("MaskedBefore"):
        collecting.add("dev-000", dataclasses.replace(good, vector=b""), masked)
    with pytest.raises(Aborted, match="TooFewVectors"):
        collecting.close()


def test_masked_zeros_look_uniform() -> None:
    fleet = Fleet(3)
    _, masking = fleet.mask()
    _, masked, _ = masking[0].mask(np.zeros(20_000, np.uint32), 16)
    counts = np.bincount(masked >> 8, minlength=256)
    expected = counts.sum() / 256
    assert 165 < ((counts - expected) ** 2 / expected).sum() < 360


def test_roles_are_the_roots_and_never_go_back() -> None:
    data = seal(TAG_OF[Roles], ROLES.encode(), key=ROOT, sender="root", recipient="fleet").encode()
    assert trusted_roles(data, ROOT.public, "t", now=10, seen=3) == ROLES
    for reason, root, tenant, now, seen in [
        ("NotTheRoot", ENROLMENT.public, "t", 10, 3),
        ("ForeignTenant", ROOT.public, "u", 10, 3),
        ("Expired", ROOT.public, "t", 100, 3),
        ("OldRoles", ROOT.public, "t", 10, 4),
    ]:
        with refused(reason):
            trusted_roles(data, root, tenant, now=now, seen=seen)
