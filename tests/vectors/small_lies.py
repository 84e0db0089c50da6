"""Lies told at the small doors: bundles, graphs, documents, pieces, and the ends of a link."""

import dataclasses
from collections.abc import Iterator

import bundle_lies
from recorded_fleet import CERTIFICATES, CLOCK, IDENTITIES, KEYS
from taped import MASKED, STRANGER, Named, again, signed

from accord import merkle
from accord.wire import chunks, topics
from accord.wire.check_in import Ask
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Checkpoint, Opening
from aggregator.audit.proof import AuditProof, ProvenEntry


def cases() -> Iterator[Named]:
    """Yield the cases of the small doors: bundles, graphs, documents, pieces, the link's ends."""
    for name, about, data, state in bundle_lies.bundles():
        yield name, {"about": about, "door": "bundle", "state": state, "feed": [data.hex()]}
    for name, about, data in bundle_lies.graphs():
        yield name, {"about": about, "door": "graph", "state": {}, "feed": [data.hex()]}
    roles = Envelope.decode(KEYS.roles())
    for name, about, data, state in (
        ("NotTheRoot", "signed by the aggregator", again(roles, KEYS.aggregator), {}),
        ("NotTheRoot", "another document", KEYS.checkpoint(), {}),
        ("ForeignTenant", "for another tenant", again(roles, KEYS.root, tenant="u"), {}),
        ("Expired", "at its end", again(roles, KEYS.root, expires=CLOCK), {}),
        ("OldRoles", "a lower version than was seen", KEYS.roles(), {"seen": 2}),
    ):
        yield name, {"about": about, "door": "roles", "state": state, "feed": [data.hex()]}
    own = Envelope.decode(CERTIFICATES["dev-01"])
    for name, about, data, state in (
        ("NotEnrolled", "signed by the device itself", again(own, IDENTITIES["dev-01"]), {}),
        ("NotEnrolled", "of another device", CERTIFICATES["dev-00"], {}),
        ("Expired", "at its end", again(own, KEYS.enrolment, expires=CLOCK), {}),
        ("Revoked", "its serial number is on the list", own.encode(), {"revoked": [1]}),
    ):
        yield (
            name,
            {"about": about, "door": "certificate", "state": {"device": "dev-01", **state}, "feed": [data.hex()]},
        )
    log = [b"one", b"two"]
    signed_head = signed(Checkpoint(size=2, root=merkle.root(log)), "t")
    entry = ProvenEntry(index=0, leaf=b"one", path=(merkle.leaf_hash(b"two"),))
    for name, about, checkpoint, proven in (
        ("NotInLog", "an entry behind the end", signed_head, dataclasses.replace(entry, index=2)),
        ("NotInLog", "another entry", signed_head, dataclasses.replace(entry, leaf=b"other")),
        ("NotInLog", "a path that is too long", signed_head, dataclasses.replace(entry, path=entry.path * 2)),
        ("ForeignCheckpoint", "a head that a stranger signed", again(Envelope.decode(signed_head), STRANGER), entry),
        ("ForeignCheckpoint", "the head of another tenant", again(Envelope.decode(signed_head), recipient="u"), entry),
    ):
        proof = AuditProof(roles=KEYS.roles(), checkpoint=checkpoint, entries=(proven,))
        yield name, {"about": about, "door": "proof", "state": {}, "feed": [proof.encode().hex()]}
    yield from pieces()


def pieces() -> Iterator[Named]:
    """Yield the cases of objects in pieces, and of both ends of the link."""
    wanted = chunks.manifest(b"an object")
    state = {"manifest": wanted.encode().hex()}
    good = chunks.piece(b"an object", wanted.object, 0)
    two = chunks.manifest(bytes(chunks.CHUNK + 1))
    lie = dataclasses.replace(wanted, object=bytes(32))
    for name, about, data, more in (
        ("BadPiece", "other bytes", dataclasses.replace(good, data=b"another"), {}),
        (
            "BadPiece",
            "the whole has another digest",
            dataclasses.replace(good, object=bytes(32)),
            {"manifest": lie.encode().hex()},
        ),
        (
            "BadPiece",
            "other bytes in one of two",
            dataclasses.replace(good, object=two.object),
            {"manifest": two.encode().hex()},
        ),
        ("ForeignPiece", "of another object", dataclasses.replace(good, object=bytes(32)), {}),
        ("ForeignPiece", "behind the last one", dataclasses.replace(good, index=1), {}),
        ("TooLarge", "an object above the limit", good, {"limit": 8}),
    ):
        yield name, {"about": about, "door": "assembler", "state": state | more, "feed": [data.encode().hex()]}
    up, down = topics.up("t", "dev-00", "req"), topics.down("t", "dev-00", "rsp")
    offered = seal(
        TAG_OF[chunks.Manifest], wanted.encode(), key=IDENTITIES["dev-00"], sender="dev-00", recipient="aggregator"
    )
    asked = seal(
        TAG_OF[chunks.Get],
        chunks.Get(object=bytes(32), have=b"", held=b"").encode(),
        key=STRANGER,
        sender="dev-00",
        recipient="aggregator",
    )
    missed = Ask(job="j", round=7, attempt=1)
    question = seal(
        TAG_OF[Ask], missed.encode(), key=IDENTITIES["dev-00"], sender="dev-00", recipient="aggregator"
    ).encode()
    sharing = ["cohort", MASKED.place("share/2", "dev-00")]
    large = chunks.manifest(bytes(2_000))
    for name, about, topic, data, after in (
        ("NoSuchObject", "a device asks for an object that is not served", up, asked.encode(), ["", 0]),
        ("NoResult", "a device asks for the RESULT of a round that never was", up, question, ["", 0]),
        ("ForeignTopic", "a question of another device", topics.up("t", "dev-01", "req"), question, ["", 0]),
        ("ForeignTopic", "the aggregator's own state", topics.aggregator_state("t"), b"", ["", 0]),
        ("ForeignTopic", "a device of another tenant", topics.up("u", "dev-00", "state"), b"", ["", 0]),
        ("ForeignTopic", "an upload of another device", topics.up("t", "dev-01", "req"), offered.encode(), sharing),
        ("BadMessage", "a heartbeat that is none", topics.up("t", "dev-00", "beat"), b"\xff", ["", 0]),
        ("BadMessage", "no topic of the protocol", "fl/v2/t", b"", ["", 0]),
        ("NotOffered", "an upload where no round is open", up, offered.encode(), ["", 0]),
        ("BadSignature", "an upload that somebody else offers", up, again(offered, STRANGER), sharing),
        (
            "TooLarge",
            "an upload larger than a masked letter",
            up,
            again(offered, object=large.object, size=large.size, hashes=large.hashes),
            sharing,
        ),
    ):
        yield (
            name,
            {
                "about": about,
                "door": "transport",
                "state": {"after": after},
                "feed": [{"topic": topic, "payload": data.hex()}],
            },
        )
    opening = MASKED.find(TAG_OF[Opening], "dev-00")
    for name, about, topic, data in (
        ("ForeignPiece", "a manifest that nobody asked for", down, signed(wanted, "dev-00")),
        (
            "BadSignature",
            "a manifest of somebody else",
            down,
            again(Envelope.decode(signed(wanted, "dev-00")), STRANGER),
        ),
        ("NotForUs", "a manifest for another device", down, signed(wanted, "dev-01")),
        (
            "ForeignDelta",
            "a delta that nobody asked for",
            down,
            signed(chunks.Merged(wanted=bytes(32), base=bytes(32), manifest=wanted), "dev-00"),
        ),
        (
            "TooLarge",
            "a model above the device's limit",
            topics.job("t", "j", "round"),
            again(opening, params_size=1_001),
        ),
        ("BadMessage", "noise", down, b"\xff"),
    ):
        yield (
            name,
            {
                "about": about,
                "door": "agent",
                "state": {"largest_object": 1_000},
                "feed": [{"topic": topic, "payload": data.hex()}],
            },
        )
