"""The secure sum as a whole: any dropouts at any stage give the exact sum or an abort by name, never a wrong number."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import Aborted, Refusal
from accord.secagg import client, server
from accord.secagg.authority import trusted_roles
from accord.secagg.cohort import new_roster, verified
from accord.signing import SigningKey
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF, Roles
from accord.wire.secure_sum import Masked, Result, Survivors
from tests.secagg.driven_cohort import (
    AUTHORITY,
    BITS,
    CONTEXT,
    ENROLMENT,
    LENGTH,
    ROLES,
    ROOT,
    SEAL,
    Fleet,
    certificate,
    cohort_with_dropouts,
    device,
    member,
)

SIZES = st.integers(0, 9).flatmap(lambda tenth: st.integers(3, 16 if tenth else 40))
"""Thresholds are tight where devices are few; one cohort in ten may be large. `make soak` draws 2,000 like these."""


@settings(max_examples=150, deadline=None)
@given(SIZES, st.floats(0, 0.5), st.integers(0, 2**32))
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
    fleet.joining[0].roster(fleet.roster, AUTHORITY, profile="standard", floor=3, cap=100)  # it was not used up
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
    def shares(reason: str, *, spent: bool = False, **changes: object) -> None:
        fleet = Fleet(5)
        sharing = fleet.share(5)
        stage = server.Sharing(fleet.cohort, 3)
        for d, s in zip(fleet.joining, sharing, strict=True):
            stage.add(d.device, s.message)
        honest = stage.close()[1]["dev-000"]
        with refused(reason):
            sharing[0].shares(dataclasses.replace(honest, **changes))
        if not spent:
            sharing[0].shares(honest)
        with refused("SharesChanged"):
            sharing[0].shares(honest)

    fleet = Fleet(5)
    shares("NotADealer", dealers=fleet.cohort.bitmap([1, 2, 3, 4]))
    shares("SmallCohort", dealers=fleet.cohort.bitmap([0, 1]))
    shares("MissingShare", dealers=fleet.cohort.bitmap([0, 1, 2, 3]))
    shares("WrongShape", sealed=(bytes(1168),) * 4)
    shares("BadSeal", spent=True, sealed=(bytes(80),) * 4)
    shares("BadBitmap", dealers=b"\xff")
    shares("BadBitmap", dealers=b"\x01\x00")

    for reason, bitmap in [("CalledDead", b"\x1e"), ("SmallCohort", b"\x03"), ("BadBitmap", b"\x3f")]:
        waiting = Fleet(5).unmask()[2]
        with refused(reason):
            waiting[0].survivors(Survivors(survivors=bitmap), SEAL.public)
        waiting[0].survivors(Survivors(survivors=b"\x1f"), SEAL.public)
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


@pytest.mark.parametrize("liars", [1, 2])
def test_a_holder_whose_answer_opens_and_holds_wrong_shares_is_skipped_for_those_alone(liars: int) -> None:
    """Of six one is gone, and four shares open a secret: one liar among the five leaves enough of each, two do not."""
    fleet = Fleet(6)
    unmasking, survivors, waiting = fleet.unmask(gone=1)
    for one in waiting[:liars]:
        one._held = {dealer: share if dealer % 2 else bytes(64) for dealer, share in one._held.items()}
    for place, one in enumerate(waiting, 1):
        unmasking.add(f"dev-00{place}", one.survivors(survivors, SEAL.public)[1], SEAL)
    assert unmasking.complete
    assert unmasking.wrong_holders == {"dev-001", "dev-002"} - ({"dev-002"} if liars == 1 else set())
    if liars == 1:
        assert (unmasking.close(BITS) == sum(fleet.vectors[1:])).all()
        return
    with pytest.raises(Aborted, match=r"TooFewAnswers.*3 good shares of dev-000"):
        unmasking.close(BITS)


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
