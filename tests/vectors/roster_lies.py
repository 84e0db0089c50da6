"""Lies that a roster tells a device: forged, cut short, padded, too small, under another rule, or shown twice."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from device_lies import ME, OFFER, PLAN, ROSTER, ROSTERED, SHARES, lied, offered
from recorded_fleet import CERTIFICATES, CLOCK, IDENTITIES, KEYS
from taped import MASKED, Case, Named, again, to_device

from accord import merkle, prg
from accord.plan import Plan
from accord.secagg.cohort import first_context
from accord.secagg.members import member_of
from accord.secagg.roster_tree import RosterTree
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.secure_sum import Member


def joined(name: str, **changes: Any) -> Member:
    """Return a member whose JOIN has other fields, signed by itself."""
    letter = Envelope.decode(again(MASKED.find("join/2", name), **changes))
    return member_of(letter)


def cases() -> Iterator[Named]:
    """Yield every case."""
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
    key = second.mask_key
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
    own = joined(ME, mask_key=joined(ME).certified[:32])
    yield "NotInRoster", lied(ROSTER, "our name with keys that are not ours", members=(own, *members[1:]))
    resealed = dataclasses.replace(fourth, serial=fourth.serial + 1)
    yield "NotEnrolled", lied(ROSTER, "a member with another serial number", members=(*members[:3], resealed))
    yield from _strangers()
    yield from _small_rosters()
    yield from _parts_of_trees(members)
    other = again(letter, members=(first, second, third), neighbours=2, threshold=2)
    yield "RosterChanged", to_device("a second roster", SHARES, other)
    yield "RosterChanged", to_device("the same roster twice", SHARES, letter.encode())


def _strangers() -> Iterator[Named]:
    """Yield rosters with somebody in them whom enrolment does not vouch for, or who holds another model or plan."""
    members, letter = ROSTERED.members, MASKED.letter(ROSTER)
    certificate = Envelope.decode(CERTIFICATES["dev-03"])
    puppet = again(certificate, KEYS.aggregator, sender="enrolment")
    ended = again(certificate, KEYS.enrolment, expires=OFFER.now, sender="enrolment")
    for name, about, shown in (
        ("NotEnrolled", "a puppet that the aggregator vouches for", puppet),
        ("Expired", "a member whose certificate has ended", ended),
    ):
        yield name, lied(ROSTER, about, members=(*members[:3], joined("dev-03", certificate=shown)))
    revoked = again(Envelope.decode(OFFER.revocations), KEYS.enrolment, serials=(3,))
    plan = dataclasses.replace(Plan.decode(OFFER.plan), revocations_digest=prg.digest(revoked))
    context = first_context(plan.encode(), plan.bundle_digest, plan.params_digest)
    lie = offered(revocations=revoked, revocations_digest=prg.digest(revoked))
    everybody = tuple(joined(member.device, context=context) for member in members)
    yield "Revoked", to_device("a revoked member", PLAN, lie, again(letter, context=context, members=everybody))
    asked = Plan.decode(OFFER.plan)
    for about, model, asks in (
        ("a member who holds another model", prg.digest(b"another model"), asked),
        ("a member who was shown another plan", asked.params_digest, dataclasses.replace(asked, expires=2 * CLOCK)),
    ):
        context = first_context(asks.encode(), asked.bundle_digest, model)
        yield "ForgedJoin", lied(ROSTER, about, members=(*members[:3], joined("dev-03", context=context)))


def _small_rosters() -> Iterator[Named]:
    """Yield rosters that are smaller than this device's floor, cut short or padded."""
    members, letter = ROSTERED.members, MASKED.letter(ROSTER)
    plan = dataclasses.replace(Plan.decode(OFFER.plan), cohort_floor=4)
    context = first_context(plan.encode(), plan.bundle_digest, plan.params_digest)
    three = again(letter, context=context, neighbours=2, threshold=2, members=members[:3])
    resigned = tuple(joined(member.device, context=context) for member in members[:3])
    few = again(letter, context=context, neighbours=2, threshold=2, members=resigned)
    yield "ForgedJoin", to_device("three members who joined another attempt", PLAN, offered(cohort_floor=4), three)
    yield (
        "SmallCohort",
        to_device("a roster below the device's floor", PLAN, offered(cohort_floor=4), few, smallest_cohort=4),
    )
    for about, payload in (("a roster cut short", letter.payload[:-1]), ("a padded roster", letter.payload + b"\x00")):
        data = seal(letter.tag, payload, key=KEYS.aggregator, sender="aggregator", recipient=ME, context=letter.context)
        yield "BadMessage", to_device(about, ROSTER, data.encode())


def _parts_of_trees(members: tuple[Member, ...]) -> Iterator[Named]:
    """Yield rosters that show some of their members, where the rule of four shows all."""
    nodes = RosterTree(ROSTERED).nodes

    def part(about: str, at: tuple[int, ...], shown: bytes, **changes: Any) -> Case:
        proof = b"".join(merkle.gaps(nodes, at))
        changes = {"whole": 4, "shown": shown, "proof": proof, **changes}
        return lied(ROSTER, about, members=tuple(members[place] for place in at), **changes)

    yield "WrongNeighbours", part("three of our neighbours", (0, 1, 2), b"\x07")
    yield "WrongNeighbours", part("an entry at another place", (0, 1, 2), b"\x0b")
    yield "NotInRoster", part("neighbours without us", (1, 2, 3), b"\x0e")
    yield "BadBitmap", part("a place behind the last", (0, 1, 2), b"\x13")
    yield "BadBitmap", part("two bytes for four members", (0, 1, 2), b"\x07\x00")
    yield "WrongShape", part("more places than entries", (0, 1, 2), b"\x0f")
    yield "WrongShape", part("half a hash", (0, 1, 2), b"\x07", proof=bytes(48))
    yield "WrongShape", part("a proof with a hash too many", (0, 1, 2), b"\x07", proof=bytes(64))
    yield "WrongShape", part("a proof with a hash too few", (0, 1, 2), b"\x07", proof=b"")
    yield "WrongShape", part("a proof where everybody is shown", (0, 1, 2, 3), b"", whole=0, proof=bytes(32))
