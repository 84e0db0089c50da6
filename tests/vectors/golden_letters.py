"""Golden bytes of letters: every message and its signed envelope, the plan and its parts, and two whole cohorts."""

from collections.abc import Iterator
from typing import Any

from recorded_fleet import (
    CERTIFICATES,
    IDENTITIES,
    KEYS,
    LAYOUT,
    NAMES,
    OFFICE,
    ROUND,
    SEED,
    contribution,
    drawn,
    folded,
    record,
)

from accord import merkle, prg
from accord.cbor import encode
from accord.entropy import SeededEntropy
from accord.plan import Fixed, Plan, Task, Training
from accord.records import Flag, Int, Kind, Many, Name, Nested, Octets, OneOf, Record, Sized, Text
from accord.secagg import keys, unmasked
from accord.secagg.authority import Authority
from accord.secagg.cohort import first_context, verified
from accord.signing import SigningKey
from accord.update.pipeline import Form
from accord.wire import chunks
from accord.wire.envelope import Envelope, seal, signed_bytes
from accord.wire.messages import TAG_OF, TAGS, Offer, Revocations, Roles, opened
from accord.wire.secure_sum import Consistency, Roster
from accord.wire.versions import Version
from aggregator import round as engine
from aggregator import round_values as values

SIGNER = SigningKey(SEED.child("signer")(32))
WIDE = 2**40
"""Drawn integers stay below this above their least value, so that all sizes of head occur."""


def example(kind: Kind, draw: SeededEntropy, *, least: bool) -> Any:  # noqa: PLR0911 - one return per kind
    """Return a value of a kind: the least one, or one that `draw` decides."""
    match kind:
        case Int():
            number = int.from_bytes(draw(8), "little") % (min(kind.high - kind.low, WIDE) + 1)
            return kind.low if least else kind.low + number
        case Flag():
            return not least
        case Octets():
            high = kind.low if kind.high is None else kind.high
            return draw(kind.low if least else min(high, kind.low + 8))
        case Sized():
            return draw(kind.sizes[0 if least else -1])
        case Name():
            return "a" if least else f"name-{draw(2).hex()}"
        case Text():
            return "" if least else "é is two bytes"[: kind.high]
        case OneOf():
            return kind.words[0 if least else -1]
        case Many():
            length = kind.low if least else min(kind.high, max(kind.low, 3))
            return tuple(example(kind.kind, draw, least=least) for _ in range(length))
        case Nested():
            return message(kind.record, draw, least=least)
        case _:
            raise NotImplementedError(f"say in `example` what a {type(kind).__name__} may be")


def message(kind: type[Record], draw: SeededEntropy, *, least: bool) -> Record:
    """Return a valid record: fields that depend on one another are chosen here, the others by their kind."""
    if kind is Revocations:
        return Revocations(version=int(not least), serials=() if least else (0, 23, 24, 255, 256, 65_536, 2**32))
    if kind is chunks.Manifest:
        return chunks.manifest(b"" if least else draw(chunks.CHUNK + 1))
    fields = {name: example(inner, draw, least=least) for name, inner in kind.kinds()}
    if kind is Version:
        fields["restored"] = b""
        if not least:
            fields |= {"origin": "round", "parent": draw(32), "plan": draw(32)}
    return kind(**fields)


def plain(value: Any) -> Any:
    """Return a record or a field for JSON: bytes as hexadecimal, tuples as lists, records as objects."""
    if isinstance(value, Record):
        return {name: plain(getattr(value, name)) for name, _ in value.kinds()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def messages() -> Any:
    """Every message of the table of tags twice, in a signed letter."""
    cases = []
    for tag, kind in TAGS.items():
        for least in (True, False):
            draw = SEED.child("message", tag, least)
            body = message(kind, draw, least=least)
            letter = seal(tag, body.encode(), key=SIGNER, sender="a-1", recipient="aggregator", context=draw(32))
            cases.append(
                {
                    "tag": tag,
                    "fields": plain(body),
                    "payload": body.encode().hex(),
                    "context": letter.context.hex(),
                    "signature": letter.signature.hex(),
                    "letter": letter.encode().hex(),
                }
            )
    return {"sender": "a-1", "recipient": "aggregator", "public": SIGNER.public.hex(), "letters": cases}


def pieces() -> Any:
    """An object of two pieces: its manifest, its second piece and the bitmap of the first."""
    data = SEED.child("object")(chunks.CHUNK + 5)
    wanted = chunks.manifest(data)
    last = chunks.piece(data, wanted.object, 1)
    assembler = chunks.Assembler(wanted, len(data))
    assembler.add(chunks.piece(data, wanted.object, 0))
    return {
        "made_of": "SeededEntropy(1).child('object')(60005)",
        "manifest": wanted.encode().hex(),
        "piece": last.encode().hex(),
        "have_after_the_first": assembler.have.hex(),
    }


def letters(entries: list[dict[str, Any]], tag: str) -> Iterator[Envelope]:
    """Yield the letters of one tag in a recording."""
    for entry in entries:
        if "data" in entry and (letter := Envelope.decode(bytes.fromhex(entry["data"]))).tag == tag:
            yield letter


def plan() -> Any:
    """The recorded round's plan, its parts, and the contexts that follow from it."""
    entries = masked_cohort()
    offer = opened(next(letters(entries, TAG_OF[Offer])), Offer)
    asked = Plan.decode(offer.plan)
    context = first_context(offer.plan, asked.bundle_digest, asked.params_digest)
    cohort = cohort_of(entries, context)
    parts: tuple[Training | Fixed | Task, ...] = (asked.training, asked.fixed, asked.task)
    return {
        "fields": plain(asked),
        "plan": offer.plan.hex(),
        "digest": prg.digest(offer.plan).hex(),
        "parts": {type(part).__name__: part.encode().hex() for part in parts},
        "ctx1": context.hex(),
        "cohort": cohort.name,
        "members": [member.encode().hex() for member in opened(next(letters(entries, "roster/4")), Roster).members],
        "roster_root": cohort.root.hex(),
        "k": cohort.neighbours,
        "t": cohort.threshold,
        "ctx2": cohort.context.hex(),
        "ctx2_off": unmasked.second_context(context, cohort.name).hex(),
        "empty_root": merkle.EMPTY_ROOT.hex(),
    }


def cohort_of(entries: list[dict[str, Any]], context: bytes, profile: str = "standard") -> Any:
    """Return the verified cohort of a recording."""
    authority = Authority(
        roles=opened(Envelope.decode(OFFICE.roles), Roles),
        revocations=opened(Envelope.decode(OFFICE.revocations), Revocations),
        now=0,
    )
    return verified(opened(next(letters(entries, "roster/4")), Roster), context, profile, authority)


def masked_cohort() -> list[dict[str, Any]]:
    """Four devices share, three send their vectors, and the mask key of the fourth is opened."""
    return record({"dev-03": "masked/1"})


def _described(entries: list[dict[str, Any]], **more: Any) -> Any:
    return {
        "aggregator": {"public": KEYS.aggregator.public.hex(), "seed": KEYS.aggregator.seed.hex()},
        "root": KEYS.root.public.hex(),
        "enrolment": KEYS.enrolment.public.hex(),
        "roles": OFFICE.roles.hex(),
        "devices": {
            name: {"identity": IDENTITIES[name].seed.hex(), "certificate": CERTIFICATES[name].hex()} for name in NAMES
        },
        **more,
        "entries": folded(entries),
    }


def cohort() -> Any:
    """The whole transcript of a masked cohort with one dropout, down to the sum."""
    entries = masked_cohort()
    offer = opened(next(letters(entries, TAG_OF[Offer])), Offer)
    asked = Plan.decode(offer.plan)
    found = cohort_of(entries, first_context(offer.plan, asked.bundle_digest, asked.params_digest))
    pair = keys.new_pair(SeededEntropy(ROUND).child("seal", 1))
    state = engine.begin(
        asked, found, length=Form(asked, LAYOUT).length, windows=values.Windows(grace=0), seal_pair=pair, now=0
    )
    effects: tuple[values.Effect, ...] = ()
    for tag in ("share/2", "masked/1", "unmask/1"):
        for letter in letters(entries, tag):
            body: Any = opened(letter, TAGS[tag])
            state, effects = engine.step(state, values.Received(device=letter.sender, message=body), 0)
        if tag == "masked/1":
            state, effects = engine.step(state, values.Gone(device="dev-03"), 0)
    ended = effects[-1]
    assert isinstance(ended, values.Opened)
    form = Form(asked, LAYOUT)
    plain_vectors = {name: form.encode(contribution(name, 10), drawn(name, "rounding")(32)).tolist() for name in NAMES}
    return _described(
        entries,
        secrets={name: _secrets(name) for name in NAMES},
        seal_secret=pair.secret.hex(),
        plain_vectors=plain_vectors,
        opened_sum=ended.total.tolist(),
        included=list(ended.included),
    )


def _secrets(name: str) -> dict[str, str]:
    source = drawn(name, "secagg")
    return {use: source(32).hex() for use in ("mask", "seal", "self")}


def cohort_off() -> Any:
    """The same round without masks."""
    return _described(record(profile="off"))


def cohort_strict() -> Any:
    """The masked cohort in profile `strict`: three survivors sign their set, and answer once they see a quorum."""
    entries = record({"dev-03": "masked/1"}, profile="strict")
    offer = opened(next(letters(entries, TAG_OF[Offer])), Offer)
    asked = Plan.decode(offer.plan)
    found = cohort_of(entries, first_context(offer.plan, asked.bundle_digest, asked.params_digest), asked.profile)
    confirmed = next(letters(entries, TAG_OF[Consistency]))
    covered = signed_bytes(confirmed.tag, confirmed.sender, "aggregator", found.context, confirmed.digest)
    return _described(entries, k=found.neighbours, t=found.threshold, ctx2=found.context.hex(), covered=covered.hex())


def entropy() -> Any:
    """What a seeded run draws, and the derivations that need no secret."""
    source = SeededEntropy(7)
    return {
        "seed": 7,
        "first_80": source(80).hex(),
        "then_16": source(16).hex(),
        "child_a_1": source.child("a", 1)(32).hex(),
        "digest_of_abc": prg.digest(b"abc").hex(),
        "kdf": {
            "secret": "07" * 32,
            "label": encode(["use", 1]).hex(),
            "key": prg.kdf(b"\x07" * 32, encode(["use", 1])).hex(),
        },
        "roots": [merkle.root([bytes([at]) for at in range(count)]).hex() for count in range(6)],
    }
