"""An aggregator that brings a device of its own into a cohort is refused by every other device."""

import dataclasses

import pytest
from forked_fleet import CLOCK, Fleet, refused, sent

from accord import prg
from accord.entropy import SeededEntropy
from accord.secagg.client import Joining
from accord.secagg.cohort import new_roster
from accord.secagg.members import member_of
from accord.signing import SIGNATURE_SIZE, SigningKey
from accord.wire.envelope import Envelope
from aggregator.enrolment import Fleet as Keys
from edge_sdk import session_values as dev

PUPPET = "dev-9"
KEY = SigningKey(b"p" * 32)


def vouched(keys: Keys, how: str) -> bytes:
    """Return the puppet's certificate as somebody other than enrolment signs it, or one that holds no longer."""
    signers = {"aggregator": keys.aggregator, "publisher": keys.publisher, "root": keys.root, "itself": KEY}
    if how == "expired":
        return dataclasses.replace(keys, expires=CLOCK).certificate(PUPPET, KEY.public, 9)
    if how in ("enrolment", "another device's"):
        return keys.certificate(PUPPET, KEY.public, 9)
    signer = signers.get(how, SigningKey(b"n" * 32))
    return dataclasses.replace(keys, enrolment=signer).certificate(PUPPET, KEY.public, 9)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("aggregator", "NotEnrolled"),
        ("publisher", "NotEnrolled"),
        ("root", "NotEnrolled"),
        ("itself", "NotEnrolled"),
        ("a key that the roles document does not name", "NotEnrolled"),
        ("another device's", "NotEnrolled"),
        ("expired", "Expired"),
        ("enrolment", ""),
    ],
)
def test_every_device_refuses_a_puppet_by_name(how: str, reason: str) -> None:
    fleet = Fleet()
    log = fleet.log()
    attempt = fleet.honest(log)
    joined = []
    for number in range(4):
        session = fleet.session(number)
        joined.append((session, Envelope.decode(sent(fleet.asked(session, attempt)))))
    context = joined[0][1].context
    puppet = Joining(PUPPET, KEY, vouched(fleet.keys, how), context, SeededEntropy(77)).letter
    letters = [*(join for _, join in joined), puppet]
    members = [member_of(join) for join in letters]
    if how == "another device's":
        certificate = fleet.keys.certificate("dev-5", KEY.public, 9)
        members[-1] = dataclasses.replace(members[-1], certified=certificate[-SIGNATURE_SIZE:])
    roster = new_roster("c1", "standard", members)
    for session, join in joined:
        effects = session.step(dev.Arrived(data=fleet.desk.sealed(roster, "c1", join.context)))
        if reason:
            assert refused(effects) == reason, how
        else:
            assert sent(effects), "the same roster with enrolment's own certificate is taken"


def test_a_plan_under_roles_of_the_aggregators_own_reaches_nobody() -> None:
    fleet = Fleet()
    own = dataclasses.replace(fleet.keys, root=fleet.keys.aggregator, enrolment=fleet.keys.aggregator, roles_version=2)
    lists = own.revocations(9)
    log = fleet.log()
    attempt = fleet.honest(log)
    plan = dataclasses.replace(attempt.plan, revocations_digest=prg.digest(lists))
    invitation = dataclasses.replace(attempt._invitation, plan=plan, data=plan.encode(), revocations=lists)
    attempt.plan = plan
    attempt._invitation = attempt._muster._invitation = invitation
    assert refused(fleet.asked(fleet.session(), attempt)) == "BadSignature"
