"""Lies told to a device's session by whoever holds the aggregator's key, or by nobody at all."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from golden_numbers import TOPK
from recorded_fleet import CERTIFICATES, KEYS, SEED, drawn
from taped import MASKED, STRANGER, Case, Named, Tape, again, signed, to_device

from accord import merkle, prg
from accord.cbor import encode
from accord.plan import Plan
from accord.wire import messages
from accord.wire.check_in import CheckIn, Later
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.messages import Checkpoint, Offer, Release, opened
from accord.wire.secure_sum import Roster
from edge_sdk.saved import AnsweredOnce, Joined, Shared

ME = "dev-00"
OPENING, PLAN, ROSTER, SHARES, SURVIVORS, RESULT = (
    MASKED.place(tag, ME) for tag in ("opening/1", "plan/7", "roster/4", "shares/2", "survivors/1", "result/1")
)
OFFER = opened(MASKED.letter(PLAN), Offer)
ROSTERED = opened(MASKED.letter(ROSTER), Roster)
DEALT = opened(MASKED.letter(SHARES), messages.Shares)


def offered(**changes: Any) -> bytes:
    """Return the offer of another plan: change its fields, or `revocations`, `nonce`, `consistency` of the offer."""
    outside = {name: changes.pop(name) for name in ("revocations", "nonce", "consistency") if name in changes}
    plan = dataclasses.replace(Plan.decode(OFFER.plan), **changes)
    return again(MASKED.letter(PLAN), plan=plan.encode(), **outside)


def lied(place: int, about: str, tape: Tape = MASKED, **changes: Any) -> Case:
    """Return a case in which one letter of a recording comes with other fields."""
    return to_device(about, place, again(tape.letter(place), **changes), tape=tape)


def cases() -> Iterator[Named]:
    """Yield every case, stage by stage."""
    yield from _before_the_plan()
    yield from _plans()
    yield from _later_letters()
    yield from _files()
    yield from _restarts()


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
    yield "Foreign", to_device("another device's letter", OPENING, MASKED.find("join/2", "dev-01").encode())
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
    nonce = opened(MASKED.find("check-in/4", ME), CheckIn).nonce
    barred = Later(nonce=nonce, reason="barred: SequenceBack; erase this device and enrol it anew")
    yield "Barred", to_device("told that it is a copy", PLAN, signed(barred, ME))
    lacks = Later(nonce=nonce, reason="NoCompressor: this round's updates are compressed with zstd")
    yield "NoCompressor", to_device("told that it lacks what compresses updates", PLAN, signed(lacks, ME))
    yield "WrongContext", to_device("`later` with a context", PLAN, signed(later, ME, b"c" * 32))


def _plans() -> Iterator[Named]:
    yield "StaleNonce", to_device("a plan that answers another check-in", PLAN, offered(nonce=bytes(16)))
    yield "NotForUs", to_device("the plan of another device", PLAN, MASKED.find("plan/7", "dev-01").encode())
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
    yield "OpenUpdate", to_device("values of each device's own choice, though there are masks", PLAN, _open_masked())
    yield "LargeUpdate", to_device("a vector larger than the device sends", PLAN, offered(), largest_update=10)
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


def _open_masked() -> bytes:
    """Return an offer of open mode with masks, which no aggregator of ours can write."""
    plan = Plan.decode(OFFER.plan)
    fields = dataclasses.replace(plan, profile="off", update=TOPK).to_wire()
    fields[[name for name, _ in Plan.kinds()].index("profile")] = "standard"
    return again(MASKED.letter(PLAN), plan=encode(fields))


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


def _restarts() -> Iterator[Named]:
    """Yield what comes after a restart behind which only the answer, or the withdrawal, is left."""
    answered = AnsweredOnce(
        opening=MASKED.letter(OPENING).encode(),
        context=MASKED.letter(SURVIVORS).context,
        survivors=opened(MASKED.letter(SURVIVORS), messages.Survivors).survivors,
        letter=MASKED.find("unmask/1", ME).encode(),
    )
    for name, about, data in (
        ("AnsweredBefore", "a second survivor set after a restart", again(MASKED.letter(SURVIVORS), survivors=b"\x0f")),
        ("OutOfOrder", "the roster again after a restart", MASKED.letter(ROSTER).encode()),
        ("ResultContradicts", "a result with other survivors", again(MASKED.letter(RESULT), survivors=b"\x0f")),
    ):
        state = {"answered": answered.encode().hex()}
        yield name, {"about": about, "door": "restarted", "state": state, "feed": [data.hex()]}


def _files() -> Iterator[Named]:
    seed = SEED.child("device", ME).child("attempt", 1, 1)(32)
    joined = Joined(
        seed=seed,
        certificate=CERTIFICATES[ME],
        opening=MASKED.letter(OPENING).encode(),
        offer=MASKED.letter(PLAN).encode(),
    )
    shared = Shared(roster=MASKED.letter(ROSTER).encode(), letter=MASKED.find("share/2", ME).encode())
    for about, first, then in (
        ("a plan of another device", {"offer": MASKED.find("plan/7", "dev-01").encode()}, {}),
        ("another seed than the letters were made from", {"seed": bytes(32)}, {}),
        ("other shares than were written", {}, {"letter": MASKED.find("share/2", "dev-01").encode()}),
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
    yield "OutOfOrder", to_device("survivors twice", RESULT, MASKED.letter(SURVIVORS).encode())
    yield "AnsweredBefore", to_device("a second survivor set", RESULT, everybody)
    yield "WrongContext", lied(SURVIVORS, "survivors of another attempt", context=NO_CONTEXT)
    yield "SmallCohort", lied(SURVIVORS, "this device alone survives", survivors=b"\x01")
    yield "SharesChanged", to_device("other shares after the first ones", SURVIVORS, fewer)
    yield "OutOfOrder", to_device("the same shares twice", SURVIVORS, MASKED.letter(SHARES).encode())
    yield "RosterChanged", to_device("a second roster after the vector", SURVIVORS, again(MASKED.letter(ROSTER)))
    yield "ResultContradicts", lied(RESULT, "closed without us", included=False)
    yield "ResultContradicts", lied(RESULT, "closed with other survivors", survivors=b"\x0f")
    yield "ResultContradicts", lied(RESULT, "aborted, with us in it", status="aborted")
    early = again(MASKED.letter(RESULT), context=MASKED.letter(SHARES).context)
    yield "ResultContradicts", to_device("a vector that never left is in the sum", SHARES, early)
    yield (
        "ResultContradicts",
        to_device("a device that withdrew is in the sum", SHARES, MASKED.letter(SHARES).encode(), early, fails=True),
    )
    aborted = again(MASKED.letter(RESULT), status="aborted", included=False, survivors=b"")
    nonce, opening = drawn(ME, "nonce", attempt=2)(16), again(MASKED.letter(OPENING), attempt=2)
    retry = offered(nonce=nonce, attempt=2)
    yield (
        "TooManyAttempts",
        to_device("a false abort, and another attempt", RESULT, aborted, opening, retry, max_attempts=1),
    )
    yield "RoundClosed", to_device("another attempt of a closed round", RESULT, MASKED.letter(RESULT).encode(), opening)
    yield "WrongContext", lied(RESULT, "the result of another cohort", context=NO_CONTEXT)
    yield "NotForUs", lied(RESULT, "the result of another device", recipient="dev-01")
