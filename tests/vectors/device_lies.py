"""Lies told to a device's session by whoever holds the aggregator's key, or by nobody at all."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from recorded_fleet import CERTIFICATES, IDENTITIES, KEYS, SEED, drawn
from taped import MASKED, STRANGER, Case, Named, again, signed, to_device

from accord import merkle, prg
from accord.plan import Plan
from accord.secagg.cohort import first_context, leaves_of
from accord.wire import messages
from accord.wire.check_in import CheckIn, Later
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.messages import Checkpoint, Offer, Release, opened
from accord.wire.secure_sum import Join, Member, Roster
from edge_sdk.saved import Joined, Shared

ME = "dev-00"
OPENING, PLAN, ROSTER, SHARES, SURVIVORS, RESULT = (
    MASKED.place(tag, ME) for tag in ("opening/1", "plan/3", "roster/2", "shares/1", "survivors/1", "result/1")
)
OFFER = opened(MASKED.letter(PLAN), Offer)
ROSTERED = opened(MASKED.letter(ROSTER), Roster)
DEALT = opened(MASKED.letter(SHARES), messages.Shares)


def offered(**changes: Any) -> bytes:
    """Return the offer of another plan: change its fields, or `revocations`, `nonce`, `consistency` of the offer."""
    outside = {name: changes.pop(name) for name in ("revocations", "nonce", "consistency") if name in changes}
    plan = dataclasses.replace(Plan.decode(OFFER.plan), **changes)
    return again(MASKED.letter(PLAN), plan=plan.encode(), **outside)


def lied(place: int, about: str, **changes: Any) -> Case:
    """Return a case in which one letter of the recording comes with other fields."""
    return to_device(about, place, again(MASKED.letter(place), **changes))


def joined(name: str, **changes: Any) -> Member:
    """Return a member whose JOIN has other fields, signed by itself."""
    letter = Envelope.decode(again(MASKED.find("join/1", name), **changes))
    return Member(device=name, join=letter.payload, signature=letter.signature)


def cases() -> Iterator[Named]:
    """Yield every case, stage by stage."""
    yield from _before_the_plan()
    yield from _plans()
    yield from _rosters()
    yield from _later_letters()
    yield from _files()


def _before_the_plan() -> Iterator[Named]:
    opening = MASKED.letter(OPENING)
    release = Release(
        job="j",
        version=1,
        round=1,
        bundle_digest=bytes(32),
        bundle_size=1,
        params_digest=bytes(32),
        params_size=1,
        transcript=bytes(32),
    )
    unknown = seal("other/1", b"", key=KEYS.aggregator, sender="aggregator", recipient=ME)
    yield "BadMessage", to_device("noise", OPENING, b"\xff")
    yield "BadMessage", to_device("nothing", OPENING, b"")
    yield "BadSignature", to_device("an opening of a stranger", OPENING, again(opening, STRANGER))
    yield "Foreign", to_device("another device's letter", OPENING, MASKED.find("join/1", "dev-01").encode())
    yield "Foreign", to_device("an unknown tag", OPENING, unknown.encode())
    old = seal("plan/1", MASKED.letter(PLAN).payload, key=KEYS.aggregator, sender="aggregator", recipient=ME)
    yield "Foreign", to_device("a plan of the wire before", PLAN, old.encode())
    yield "Foreign", to_device("a letter that a session has no use for", OPENING, signed(release, ME))
    yield "ForeignBundle", lied(OPENING, "a bundle that this device does not hold", bundle_digest=bytes(32))
    yield (
        "OldRound",
        to_device("an attempt before the last one", OPENING, opening.encode(), ledger={"round": 1, "attempt": 2}),
    )
    yield "ForeignJob", lied(OPENING, "an opening of another job", job="k")
    yield "ForeignJob", lied(OPENING, "an opening that was announced to another job", recipient="k")
    held = {"version": 2, "params": prg.digest(b"held").hex()}
    for about, name, version in (
        ("an older model, signed anew", "OldVersion", 1),
        ("another model under the newest number", "VersionChanged", 2),
    ):
        shown = again(opening, round=2, base_version=version)
        yield name, to_device(about, OPENING, shown, ledger={"round": 1, "attempt": 1} | held)
    yield "OutOfOrder", to_device("a result without an attempt", OPENING, MASKED.letter(RESULT).encode())
    later = Later(nonce=bytes(16), reason="wait")
    yield "OutOfOrder", to_device("`later` without a check-in", OPENING, signed(later, ME))
    yield "StaleNonce", to_device("`later` to another check-in", PLAN, signed(later, ME))
    nonce = opened(MASKED.find("check-in/3", ME), CheckIn).nonce
    barred = Later(nonce=nonce, reason="barred: SequenceBack; erase this device and enrol it anew")
    yield "Barred", to_device("told that it is a copy", PLAN, signed(barred, ME))
    yield "WrongContext", to_device("`later` with a context", PLAN, signed(later, ME, b"c" * 32))


def _plans() -> Iterator[Named]:
    yield "StaleNonce", to_device("a plan that answers another check-in", PLAN, offered(nonce=bytes(16)))
    yield "NotForUs", to_device("the plan of another device", PLAN, MASKED.find("plan/3", "dev-01").encode())
    for name, value in (("tenant", "u"), ("job", "k"), ("round", 2), ("attempt", 2), ("base_version", 1)):
        yield "ForeignPlan", to_device(f"a plan with another {name}", PLAN, offered(**{name: value}))
    for name in ("params_digest", "bundle_digest"):
        yield "ModelMismatch", to_device(f"a plan with another {name}", PLAN, offered(**{name: bytes(32)}))
    plan = Plan.decode(OFFER.plan)
    yield "Expired", to_device("a plan at its end", PLAN, offered(expires=OFFER.now))
    yield "OldRoles", to_device("a plan for other roles", PLAN, offered(roles_version=2))
    yield (
        "Unmasked",
        to_device("no masks, though the device wants them", PLAN, offered(profile="off"), allow_unmasked=False),
    )
    yield "SmallCohort", to_device("a floor below the device's own", PLAN, offered(), smallest_cohort=4)
    graph = dataclasses.replace(plan.graph, complete_up_to=50)
    yield "SparseGraph", to_device("few neighbours for 51 devices", PLAN, offered(graph=graph), complete_up_to=100)
    training = dataclasses.replace(plan.training, epochs=3)
    yield "TooMuchWork", to_device("more epochs than the device allows", PLAN, offered(training=training), max_epochs=2)
    nonce = drawn(ME, "nonce", attempt=2)(16)
    second = again(MASKED.letter(OPENING), attempt=2)
    third = offered(nonce=nonce, attempt=2)
    yield "TooManyAttempts", to_device("a second attempt where one is allowed", OPENING, second, third, max_attempts=1)
    yield from _logs()
    ledger = {"round": 1, "attempt": 1, "closed_round": 1}
    second = again(MASKED.letter(OPENING), round=2)
    other = offered(nonce=drawn(ME, "nonce", number=2)(16), round=2, previous=b"p" * 32)
    yield "WrongTranscript", to_device("a plan that follows another round", OPENING, second, other, ledger=ledger)
    revocations = Envelope.decode(OFFER.revocations)
    forged, newer = again(revocations, STRANGER), again(revocations, KEYS.enrolment, version=2)
    yield "ForeignRevocations", to_device("another list than the plan names", PLAN, offered(revocations=newer))
    lie = offered(revocations=forged, revocations_digest=prg.digest(forged))
    yield "BadSignature", to_device("a list that enrolment did not sign", PLAN, lie)
    yield "OldRevocations", to_device("an older list than was seen", PLAN, offered(), ledger={"revocations_version": 2})
    checkpoint = again(Envelope.decode(plan.checkpoint), STRANGER)
    yield "BadSignature", to_device("a checkpoint of a stranger", PLAN, offered(checkpoint=checkpoint))
    fixed = dataclasses.replace(plan.fixed, exponents=(0,))
    yield "BadMessage", to_device("scales that do not fit the model", PLAN, offered(fixed=fixed))
    yield "BadMessage", to_device("a plan that is none", PLAN, again(MASKED.letter(PLAN), plan=b"\xff"))


def _head(size: int, recipient: str = "t") -> bytes:
    """Return the signed head of an audit log of `size` equal entries."""
    return signed(Checkpoint(size=size, root=merkle.root([b"entry"] * size)), recipient)


def _logs() -> Iterator[Named]:
    seen = {"checkpoint": _head(2).hex()}
    forked = signed(Checkpoint(size=2, root=bytes(32)), "t")
    for name, about, shown in (
        ("LogForked", "a shorter audit log than was seen", _head(1)),
        ("LogForked", "another audit log of the same length", forked),
        ("NoConsistencyProof", "a longer audit log without a proof", _head(3)),
        ("ForeignPlan", "the audit log of another tenant", _head(3, "u")),
    ):
        yield name, to_device(about, PLAN, offered(checkpoint=shown), ledger=seen)
    proof = (bytes(32),)
    lie = offered(checkpoint=_head(3), consistency=proof)
    yield "NoConsistencyProof", to_device("a longer audit log with a wrong proof", PLAN, lie, ledger=seen)


def _rosters() -> Iterator[Named]:
    members, letter = ROSTERED.members, MASKED.letter(ROSTER)
    three = dataclasses.replace(Plan.decode(OFFER.plan), cohort_cap=3)
    context = first_context(three.encode(), three.bundle_digest, three.params_digest)
    four = again(letter, context=context)
    yield "LargeCohort", to_device("four members under a plan of at most three", PLAN, offered(cohort_cap=3), four)
    first, second, third, fourth = members
    yield "WrongContext", lied(ROSTER, "a roster of another attempt", context=NO_CONTEXT)
    yield "NotForUs", lied(ROSTER, "a roster for another cohort", recipient="c-9")
    yield "BadSignature", to_device("a roster of another device", ROSTER, again(letter, IDENTITIES["dev-01"]))
    for about, changes in (
        ("a threshold of two", {"threshold": 2}),
        ("fewer neighbours than everybody", {"neighbours": 2}),
        ("another profile", {"profile": "off"}),
        ("two members", {"members": (first, second)}),
        ("three members under the rule of four", {"members": (first, second, third)}),
    ):
        yield "WrongRule", lied(ROSTER, about, **changes)
    yield "DuplicateMember", lied(ROSTER, "a member who stands twice", members=(first, second, second, fourth))
    yield "DuplicateMember", lied(ROSTER, "members out of order", members=members[::-1])
    key = Join.decode(second.join).mask_key
    yield (
        "DuplicateKey",
        lied(ROSTER, "two members with one key", members=(*members[:3], joined("dev-03", mask_key=key))),
    )
    key = IDENTITIES["dev-01"].public
    yield (
        "DuplicateKey",
        lied(ROSTER, "an identity key as a mask key", members=(*members[:3], joined("dev-03", mask_key=key))),
    )
    yield (
        "WeakKey",
        lied(ROSTER, "a point of small order", members=(*members[:3], joined("dev-03", seal_key=bytes(32)))),
    )
    unsigned = dataclasses.replace(fourth, signature=bytes(64))
    yield "ForgedJoin", lied(ROSTER, "a member who did not sign", members=(*members[:3], unsigned))
    stale = joined("dev-03", context=b"o" * 32)
    yield "ForgedJoin", lied(ROSTER, "a member who joined another attempt", members=(*members[:3], stale))
    renamed = dataclasses.replace(fourth, device="dev-09")
    yield "NotEnrolled", lied(ROSTER, "a member with another's certificate", members=(*members[:3], renamed))
    yield "NotInRoster", lied(ROSTER, "a roster without us", members=members[1:], neighbours=2, threshold=2)
    own = joined(ME, mask_key=joined(ME).join[:32])
    yield "NotInRoster", lied(ROSTER, "our name with keys that are not ours", members=(own, *members[1:]))
    yield (
        "BadMessage",
        lied(ROSTER, "a JOIN that is none", members=(*members[:3], dataclasses.replace(fourth, join=b"\xff"))),
    )
    leaves = leaves_of(ROSTERED)
    yield "WrongNeighbours", lied(ROSTER, "three of our neighbours", members=members[:3], leaves=leaves)
    yield "WrongNeighbours", lied(ROSTER, "an entry that is not in the tree", leaves=leaves[:96] + bytes(32))
    yield "NotInRoster", lied(ROSTER, "a tree without us", leaves=bytes(32) + leaves[32:])
    yield "DuplicateMember", lied(ROSTER, "an entry twice in the tree", leaves=leaves[:96] + leaves[64:96])
    yield "WrongShape", lied(ROSTER, "half an entry", leaves=leaves + bytes(16))
    other = again(letter, members=(first, second, third), neighbours=2, threshold=2)
    yield "RosterChanged", to_device("a second roster", SHARES, other)
    yield "RosterChanged", to_device("the same roster twice", SHARES, letter.encode())


def _files() -> Iterator[Named]:
    seed = SEED.child("device", ME).child("attempt", 1, 1)(32)
    joined = Joined(
        seed=seed,
        certificate=CERTIFICATES[ME],
        opening=MASKED.letter(OPENING).encode(),
        offer=MASKED.letter(PLAN).encode(),
    )
    shared = Shared(roster=MASKED.letter(ROSTER).encode(), letter=MASKED.find("share/1", ME).encode())
    for about, first, then in (
        ("a plan of another device", {"offer": MASKED.find("plan/3", "dev-01").encode()}, {}),
        ("another seed than the letters were made from", {"seed": bytes(32)}, {}),
        ("other shares than were written", {}, {"letter": MASKED.find("share/1", "dev-01").encode()}),
        ("a roster of a stranger", {}, {"roster": again(MASKED.letter(ROSTER), STRANGER)}),
    ):
        files = [dataclasses.replace(joined, **first).encode(), dataclasses.replace(shared, **then).encode()]
        yield "CannotResume", {"about": about, "door": "resume", "state": {}, "feed": [data.hex() for data in files]}


def _later_letters() -> Iterator[Named]:
    sealed = DEALT.sealed
    yield "OutOfOrder", to_device("survivors before the shares", SHARES, MASKED.letter(SURVIVORS).encode())
    yield "WrongContext", lied(SHARES, "shares of another cohort", context=NO_CONTEXT)
    yield "NotForUs", lied(SHARES, "shares of another device", recipient="dev-01")
    yield "NotADealer", lied(SHARES, "we dealt nothing, it says", dealers=b"\x0e")
    yield "SmallCohort", lied(SHARES, "two dealers", dealers=b"\x03", sealed=sealed[:1])
    yield "MissingShare", lied(SHARES, "fewer shares than dealers", sealed=sealed[:2])
    yield "BadSeal", lied(SHARES, "shares in another order", sealed=sealed[::-1])
    yield "BadBitmap", lied(SHARES, "a dealer behind the last member", dealers=b"\x1f")
    yield "BadBitmap", lied(SHARES, "a byte too many", dealers=b"\x0f\x00")
    yield (
        "TrainingFailed",
        to_device("an update that is not a number", SHARES, MASKED.letter(SHARES).encode(), fails=True),
    )
    yield "CalledDead", lied(SURVIVORS, "our vector is said to be missing", survivors=b"\x06")
    yield "SmallCohort", lied(SURVIVORS, "two survivors", survivors=b"\x03")
    yield "BadBitmap", lied(SURVIVORS, "a survivor behind the last member", survivors=b"\x17")
    yield "NotForUs", lied(SURVIVORS, "survivors of another cohort", recipient="c-9")
    fewer = again(MASKED.letter(SHARES), dealers=b"\x07", sealed=sealed[:2])
    everybody = again(MASKED.letter(SURVIVORS), survivors=b"\x0f")
    yield "NotASharer", to_device("a survivor who dealt nothing", SHARES, fewer, everybody)
    yield "OutOfOrder", to_device("survivors twice", RESULT, everybody)
    yield "ResultContradicts", lied(RESULT, "closed without us", included=False)
    yield "ResultContradicts", lied(RESULT, "closed with other survivors", survivors=b"\x0f")
    yield "ResultContradicts", lied(RESULT, "aborted, with us in it", status="aborted")
    yield "WrongContext", lied(RESULT, "the result of another cohort", context=NO_CONTEXT)
    yield "NotForUs", lied(RESULT, "the result of another device", recipient="dev-01")
