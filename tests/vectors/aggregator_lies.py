"""Lies told to the coordinator by enrolled devices or strangers, and rounds that end by name."""

from collections.abc import Iterator
from typing import Any

from recorded_fleet import IDENTITIES, KEYS, ROUND, SEED, drawn, record
from taped import MASKED, OFF, STRANGER, Case, Named, again, to_aggregator

from accord.cbor import encode
from accord.entropy import SeededEntropy
from accord.secagg import keys
from accord.wire.check_in import CheckIn, Withdraw
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.messages import TAG_OF, opened
from accord.wire.secure_sum import Join, Masked, Share, Unmask

ME, NEXT, LAST = "dev-00", "dev-01", "dev-03"
CHECK_IN, JOIN, SHARE, MASK, UNMASK = (
    MASKED.place(tag, ME) for tag in ("check-in/4", "join/2", "share/2", "masked/1", "unmask/1")
)
LATE = 30.0
"""Seconds: behind every window of the recording."""


def lied(place: int, about: str, **changes: Any) -> Case:
    """Return a case in which dev-00's letter comes with other fields, signed by itself."""
    return to_aggregator(about, place, again(MASKED.letter(place), **changes))


def after(tag: str, about: str, **changes: Any) -> Case:
    """Return a case in which dev-00's letter comes a second time with other fields."""
    return to_aggregator(about, MASKED.place(tag, ME) + 1, again(MASKED.find(tag, ME), **changes))


def by(name: str, tag: str) -> bytes:
    """Return dev-00's letter as another device would sign it."""
    return again(MASKED.find(tag, ME), IDENTITIES[name], sender=name)


def cases() -> Iterator[Named]:
    """Yield every case, stage by stage."""
    yield from _joining()
    yield from _sharing()
    yield from _masking()
    yield from _withdrawing()
    yield from _endings()


def _joining() -> Iterator[Named]:
    check_in, join = MASKED.letter(CHECK_IN), MASKED.letter(JOIN)
    yield "NoRound", to_aggregator("a check-in before the first round", 0, check_in.encode())
    yield "BadMessage", to_aggregator("noise", CHECK_IN, b"\xff")
    yield "BadSignature", to_aggregator("a check-in of a stranger", CHECK_IN, again(check_in, STRANGER))
    yield "ForeignTopic", to_aggregator("on another device's topic", CHECK_IN, check_in.encode(), sender=NEXT)
    yield "ForeignTopic", lied(CHECK_IN, "a letter to another device", recipient=NEXT)
    other = KEYS.certificate(NEXT, IDENTITIES[NEXT].public, 1)
    yield "NotEnrolled", lied(CHECK_IN, "with another device's certificate", certificate=other)
    twin = again(
        MASKED.find("check-in/4", NEXT), IDENTITIES[ME], certificate=KEYS.certificate(NEXT, IDENTITIES[ME].public, 9)
    )
    yield "DuplicateKey", to_aggregator("two devices with one identity key", CHECK_IN + 1, twin, sender=NEXT)
    yield "LogBehind", lied(CHECK_IN, "a device that saw a longer audit log", log_size=1)
    said = opened(check_in, CheckIn)
    before = ("nonce", "job", "base_version", "params_digest", "roles_version", "certificate", "log_size")
    third = ("nonce", "job", "round", "attempt", *before[2:], "sequence", "birth")
    for tag, names in (("check-in/1", before[:-1]), ("check-in/2", before), ("check-in/3", third)):
        payload = encode([getattr(said, name) for name in names])
        old = seal(tag, payload, key=IDENTITIES[ME], sender=ME, recipient="aggregator")
        yield "NotOffered", to_aggregator(f"a check-in of a wire before, {tag}", CHECK_IN, old.encode())
    short = seal(check_in.tag, payload, key=IDENTITIES[ME], sender=ME, recipient="aggregator")
    yield "BadMessage", to_aggregator("a check-in with the fields of the wire before", CHECK_IN, short.encode())
    for about, named in (
        ("compressors in another order", ["zstd", "zlib"]),
        ("a compressor twice", ["zlib", "zlib"]),
        ("nine compressors", [f"compressor-{number}" for number in range(9)]),
        ("a compressor of 65 letters", ["z" * 65]),
        ("a compressor that is no word", [1]),
    ):
        payload = encode([*(getattr(said, name) for name in third), named])
        lie = seal(check_in.tag, payload, key=IDENTITIES[ME], sender=ME, recipient="aggregator")
        yield "BadMessage", to_aggregator(about, CHECK_IN, lie.encode())
    yield from _standings(check_in)
    yield "NotOffered", to_aggregator("a JOIN without a check-in", CHECK_IN, join.encode())
    yield "BadSignature", to_aggregator("a JOIN of a stranger", JOIN, again(join, STRANGER))
    yield "WrongContext", lied(JOIN, "a JOIN to another plan", context=NO_CONTEXT)
    newer = KEYS.certificate(ME, IDENTITIES[ME].public, 9)
    yield "NotEnrolled", lied(JOIN, "another certificate than at check-in", certificate=newer)
    fresh = keys.new_pair(SEED.child("fresh")).public
    yield "JoinedBefore", after("join/2", "a second JOIN with other keys", mask_key=fresh)
    shown = opened(join, Join)
    yield "DuplicateKey", lied(JOIN, "one key for both uses", mask_key=shown.seal_key)
    yield "DuplicateKey", lied(JOIN, "an identity key", seal_key=IDENTITIES[NEXT].public)
    copied = again(MASKED.find("join/2", NEXT), mask_key=shown.mask_key)
    yield "DuplicateKey", to_aggregator("another device's key", JOIN + 1, copied, sender=NEXT)
    for field in ("mask_key", "seal_key"):
        yield "WeakKey", lied(JOIN, f"a {field} of small order", **{field: b"\x01" + bytes(31)})
    last = MASKED.place("join/2", LAST)
    late = {"from": LAST, "to": "aggregator", "data": MASKED.letter(last).encode().hex()}
    yield "TooLate", to_aggregator("a JOIN behind the window", last, {"time": 15.0}, late)
    yield "OutOfOrder", to_aggregator("a SHARE before the roster", JOIN, MASKED.letter(SHARE).encode())


def _standings(check_in: Envelope) -> Iterator[Named]:
    """Yield what says that a device is not the only one with its key."""
    own = {"serial": 0, "identity": IDENTITIES[ME].public.hex(), "sequence": 0, "birth": 1, "barred": ""}
    for name, about, standing in (
        ("SequenceBack", "it took part before, and does not know", own | {"sequence": 1}),
        ("SeenTwice", "it was started before, and does not know", own | {"birth": 2}),
        ("OldSerial", "enrolled anew since, with another key", own | {"serial": 9, "identity": "07" * 32}),
    ):
        entry = {"from": ME, "to": "aggregator", "data": check_in.encode().hex(), "standing": standing}
        yield name, to_aggregator(about, CHECK_IN, entry)


def _sharing() -> Iterator[Named]:
    share = MASKED.letter(SHARE)
    dealt = opened(share, Share)
    noise = seal("share/2", b"\xff", key=IDENTITIES[ME], sender=ME, recipient="aggregator", context=share.context)
    yield "BadMessage", to_aggregator("a SHARE that is none", SHARE, noise.encode())
    yield "WrongContext", lied(SHARE, "a SHARE for another cohort", context=NO_CONTEXT)
    yield "OutOfOrder", to_aggregator("a vector before the shares", SHARE, MASKED.letter(MASK).encode())
    yield "WrongShape", lied(SHARE, "too few shares", sealed=dealt.sealed[:2])
    yield "WrongShape", lied(SHARE, "too few hashes", hashes=dealt.hashes[:3])
    yield "SharesChanged", after("share/2", "a second SHARE with another commitment", commitment=bytes(32))


def _masking() -> Iterator[Named]:
    mask, answer = opened(MASKED.letter(MASK), Masked), opened(MASKED.letter(UNMASK), Unmask)
    yield "WrongDealers", lied(MASK, "masked against three", dealers=b"\x07")
    yield "WrongShape", lied(MASK, "a vector that is too short", vector=mask.vector[:-1])
    yield "WrongShape", lied(MASK, "a vector that is too long", vector=mask.vector + b"\x00")
    yield (
        "WrongShape",
        lied(MASK, "fill bits that are not zero", vector=mask.vector[:-1] + bytes([mask.vector[-1] | 0xF0])),
    )
    yield "MaskedBefore", after("masked/1", "a second vector", vector=bytes(len(mask.vector)))
    silent = MASKED.place("share/2", LAST)
    undealt = {"from": LAST, "to": "aggregator", "data": by(LAST, "masked/1").hex()}
    yield (
        "NotADealer",
        to_aggregator("a vector of a device that dealt nothing", silent, {"gone": LAST}, {"time": 5.0}, undealt),
    )
    yield "NotASurvivor", to_aggregator("an answer without a vector", UNMASK, by(LAST, "unmask/1"), sender=LAST)
    yield "BadSeal", lied(UNMASK, "an answer under another key", sealed=bytes(len(answer.sealed)))
    yield "AnsweredBefore", after("unmask/1", "a second answer", sealed=answer.sealed[::-1])
    source = drawn(ME, "secagg")
    _, pair = keys.new_pair(source), keys.new_pair(source)
    context, public = MASKED.letter(UNMASK).context, keys.new_pair(SeededEntropy(ROUND).child("seal", 1)).public
    key = keys.direction_key(pair, public, label="unmask", context=context, sender=ME, recipient="aggregator")
    yield "WrongShape", lied(UNMASK, "shares of two dealers", sealed=keys.lock(key, bytes(64)))
    place = OFF.place("masked/1", ME)
    off = again(OFF.letter(place), vector=bytes(60))
    yield "BadSeal", to_aggregator("an open update under another key", place, off, tape=OFF, profile="off")


def _withdrawing() -> Iterator[Named]:
    context = MASKED.letter(MASK).context

    def withdrawal(sender: str = ME, payload: bytes = Withdraw(reason="OutOfMemory").encode()) -> bytes:
        letter = seal(
            TAG_OF[Withdraw],
            payload,
            key=IDENTITIES[sender],
            sender=sender,
            recipient="aggregator",
            context=context,
        )
        return letter.encode()

    yield "OutOfOrder", to_aggregator("it withdraws before the shares", SHARE, withdrawal())
    yield "OutOfOrder", to_aggregator("it withdraws after its vector", MASK + 1, withdrawal())
    yield "OutOfOrder", to_aggregator("a vector after it withdrew", MASK, withdrawal(), MASKED.letter(MASK).encode())
    yield "BadMessage", to_aggregator("a reason that is on no list", MASK, withdrawal(payload=encode(["Bored"])))
    silent = MASKED.place("share/2", LAST)
    undealt = {"from": LAST, "to": "aggregator", "data": withdrawal(LAST).hex()}
    yield (
        "NotADealer",
        to_aggregator("it withdraws and dealt nothing", silent, {"gone": LAST}, {"time": 5.0}, undealt),
    )


def _endings() -> Iterator[Named]:
    yield "TooFewDevices", to_aggregator("nobody joins", 1, {"time": LATE})
    for name, tag in (("TooFewShares", "share/2"), ("TooFewVectors", "masked/1"), ("TooFewAnswers", "unmask/1")):
        place = MASKED.place(tag, "dev-02")
        yield name, to_aggregator(f"two of four send {tag}", place, {"time": LATE})
    lie = again(MASKED.letter(SHARE), commitment=bytes(32))
    rest = MASKED.to_aggregator(SHARE + 1)
    first = {"from": ME, "to": "aggregator", "data": lie.hex()}
    yield "WrongDealer", to_aggregator("shares of another secret than was committed to", SHARE, first, *rest)
    idle = [entry for entry in record(rows=0) if entry.get("to", "aggregator") == "aggregator"]
    yield "NoWeight", to_aggregator("no device had rows", 0, *idle)
