"""Lies about the quorum of profile `strict`, to a device and to the coordinator, and plans that are too weak."""

from collections.abc import Iterator

from aggregator_lies import LATE
from device_lies import ME, PLAN, RESULT, lied, offered
from recorded_fleet import CERTIFICATES, IDENTITIES, KEYS, SEED
from taped import STRANGER, STRICT, Named, again, to_aggregator, to_device

from accord.cbor import encode
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.messages import opened
from accord.wire.secure_sum import Quorum
from edge_sdk.saved import ConfirmedOnce, Joined, MaskedOnce, Shared

SIGNED, QUORUM, ROSTER = (STRICT.place(tag, ME) for tag in ("survivors/1", "quorum/1", "roster/4"))
CONFIRM, ANSWER = (STRICT.place(tag, ME) for tag in ("consistency/1", "unmask/1"))
CAREFUL = {"profile": "strict", "allow_unmasked": False}


def cases() -> Iterator[Named]:
    """Yield every case: plans, quorums, files, and what the coordinator hears."""
    yield from _weak_plans()
    yield from _quorums()
    yield from _files()
    yield from _confirmations()


def _weak_plans() -> Iterator[Named]:
    yield "WeakProfile", to_device("profile standard, though the device asks for a quorum", PLAN, offered(), **CAREFUL)
    about = "keys of X25519 alone, though the device asks for ML-KEM, too"
    yield "WeakKeys", to_device(about, PLAN, offered(), keys="x25519+mlkem768")
    lie = offered(cohort_floor=5)
    yield "LowThreshold", to_device("60 % of five members open a secret", PLAN, lie, smallest_threshold=61)
    roster = STRICT.letter(ROSTER).encode()
    about = "three of the four who came, though of three or five it would be more"
    yield "LowThreshold", to_device(about, ROSTER, roster, tape=STRICT, smallest_threshold=80)


def _quorums() -> Iterator[Named]:
    survivors, quorum = STRICT.letter(SIGNED), STRICT.letter(QUORUM)
    first, second, third = opened(quorum, Quorum).signatures
    yield "OutOfOrder", to_device("a quorum before the survivors", SIGNED, quorum.encode(), tape=STRICT)
    yield "OutOfOrder", to_device("a quorum twice", QUORUM + 1, quorum.encode(), tape=STRICT)
    yield "OutOfOrder", to_device("a quorum in profile standard", RESULT, quorum.encode())
    yield "CalledDead", lied(SIGNED, "survivors without us, to sign", STRICT, survivors=b"\x06")
    everybody = again(survivors, survivors=b"\x0f")
    yield "SurvivorsChanged", to_device("a second survivor set, once one is signed", QUORUM, everybody, tape=STRICT)
    yield "WrongContext", lied(QUORUM, "the quorum of another attempt", STRICT, context=NO_CONTEXT)
    yield "NotForUs", lied(QUORUM, "the quorum of another cohort", STRICT, recipient="c-9")
    yield "OtherSurvivors", lied(QUORUM, "a quorum for another set than we signed", STRICT, survivors=b"\x0f")
    yield (
        "TooFewSignatures",
        lied(QUORUM, "two where three are needed", STRICT, signers=b"\x03", signatures=(first, second)),
    )
    yield "TooFewSignatures", lied(QUORUM, "none at all", STRICT, signers=b"\x00", signatures=())
    yield "WrongShape", lied(QUORUM, "more signatures than signers", STRICT, signatures=(first, second, third, third))
    yield "WrongShape", lied(QUORUM, "fewer signatures than signers", STRICT, signatures=(first, second))
    yield "BadMessage", to_device("half a signature", QUORUM, _cut(quorum), tape=STRICT)
    yield "NotASurvivor", lied(QUORUM, "a signer whose vector did not arrive", STRICT, signers=b"\x0b")
    yield "BadBitmap", lied(QUORUM, "a signer behind the last member", STRICT, signers=b"\x13")
    yield "BadBitmap", lied(QUORUM, "signers in a byte too many", STRICT, signers=b"\x07\x00")
    yield "ForgedSignature", lied(QUORUM, "one that nobody made", STRICT, signatures=(first, second, bytes(64)))
    yield "ForgedSignature", lied(QUORUM, "one for each other's name", STRICT, signatures=(second, first, third))
    yield "ForgedSignature", lied(QUORUM, "one of ours, three times", STRICT, signatures=(first, first, first))
    confirmed = STRICT.find("consistency/1", "dev-01")
    for about, lie in (
        ("for another survivor set", again(confirmed, survivors=b"\x0f")),
        ("of another attempt", again(confirmed, context=bytes(32))),
        ("by the aggregator itself", again(confirmed, KEYS.aggregator)),
    ):
        signature = Envelope.decode(lie).signature
        yield "ForgedSignature", lied(QUORUM, f"one {about}", STRICT, signatures=(first, signature, third))


def _files() -> Iterator[Named]:
    joined = Joined(
        seed=SEED.child("device", ME).child("attempt", 1, 1)(32),
        certificate=CERTIFICATES[ME],
        opening=STRICT.find("opening/1", ME).encode(),
        offer=STRICT.find("plan/7", ME).encode(),
    )
    shared = Shared(roster=STRICT.find("roster/4", ME).encode(), letter=STRICT.find("share/2", ME).encode())
    masked = MaskedOnce(shares=STRICT.find("shares/2", ME).encode(), letter=STRICT.find("masked/1", ME).encode())
    theirs = STRICT.find("consistency/1", "dev-01")
    other = ConfirmedOnce(survivors=STRICT.letter(SIGNED).encode(), letter=theirs.encode())
    yield (
        "CannotResume",
        {
            "about": "another confirmation than was written",
            "door": "resume",
            "state": {},
            "feed": [file.encode().hex() for file in (joined, shared, masked, other)],
        },
    )
    told = STRICT.letter(SIGNED)
    confirmed = ConfirmedOnce(survivors=told.encode(), letter=STRICT.letter(CONFIRM).encode())
    files = {"joined": joined, "shared": shared, "masked": masked, "confirmed": confirmed}
    state = {name: file.encode().hex() for name, file in files.items()}
    for name, about, data in (
        ("SurvivorsChanged", "a second survivor set after a restart", again(told, survivors=b"\x0f")),
        ("OtherSurvivors", "another set's quorum after a restart", again(STRICT.letter(QUORUM), survivors=b"\x0f")),
    ):
        yield name, {"about": about, "door": "restarted", "state": state, "feed": [data.hex()]}


def _cut(quorum: Envelope) -> bytes:
    """Return a quorum whose last signature lacks a byte, signed by the aggregator."""
    found = opened(quorum, Quorum)
    payload = encode([found.survivors, found.signers, [*found.signatures[:-1], found.signatures[-1][:-1]]])
    outside = {"sender": "aggregator", "recipient": quorum.recipient, "context": quorum.context}
    return seal(quorum.tag, payload, key=KEYS.aggregator, **outside).encode()


def _confirmations() -> Iterator[Named]:
    confirmed, answer = STRICT.letter(CONFIRM), STRICT.letter(ANSWER)
    strict = {"tape": STRICT, "profile": "strict"}
    other = again(confirmed, survivors=b"\x0f")
    yield "OtherSurvivors", to_aggregator("another survivor set than it was told", CONFIRM, other, **strict)
    forged = again(confirmed, STRANGER)
    yield "BadSignature", to_aggregator("a confirmation that it did not sign", CONFIRM, forged, **strict)
    stray = again(confirmed, context=NO_CONTEXT)
    yield "WrongContext", to_aggregator("a confirmation of another attempt", CONFIRM, stray, **strict)
    early = STRICT.place("masked/1", ME)
    yield "OutOfOrder", to_aggregator("a confirmation before the survivors", early, confirmed.encode(), **strict)
    yield "OutOfOrder", to_aggregator("an answer before the quorum", CONFIRM, answer.encode(), **strict)
    silent = again(confirmed, IDENTITIES["dev-03"], sender="dev-03")
    yield (
        "NotASurvivor",
        to_aggregator("a confirmation without a vector", CONFIRM, silent, sender="dev-03", **strict),
    )
    last = STRICT.place("consistency/1", "dev-02")
    yield "TooFewConfirmations", to_aggregator("two of three confirm", last, {"time": LATE}, **strict)
