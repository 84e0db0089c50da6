"""A verified roster: who is in a cohort, under which keys, bound to one context. Both roles compute it alike."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import field, replace
from functools import cached_property
from typing import TypeVar

from accord import cbor, merkle, prg
from accord.errors import LocalProtocolError, Refusal, SignatureError
from accord.plan import CLASSIC, HYBRID_KEY, Graph
from accord.secagg import graph, hybrid, kem, members
from accord.secagg.authority import Authority
from accord.secagg.graph import Neighbourhoods
from accord.secagg.keys import KeyPair
from accord.secagg.roster_tree import RosterTree, named
from accord.signing import verify
from accord.values import dataclass
from accord.wire.envelope import signed_bytes
from accord.wire.secure_sum import Join, Member, Roster

JOIN_TAG = "join/2"
USUAL = Graph()
_Shown = TypeVar("_Shown", str, bytes)


def first_context(plan: bytes, bundle_digest: bytes, params_digest: bytes) -> bytes:
    """Return ctx1 = H(["accord/1/ctx", plan, bundle digest, params digest]), digests computed by the device itself."""
    return prg.digest(cbor.encode(["accord/1/ctx", plan, bundle_digest, params_digest]))


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """A roster whose every shown entry was verified; positions are those of the roster.

    On a sparse graph a device is shown its neighbours alone: the others' ids and keys are empty.
    """

    name: str
    profile: str
    context: bytes
    """ctx2 = H([ctx1, cohort id, n, roster root, profile, k, t]), 32 bytes."""
    root: bytes
    neighbours: int
    threshold: int
    devices: tuple[str, ...]
    identities: tuple[bytes, ...]
    mask_keys: tuple[bytes, ...]
    seal_keys: tuple[bytes, ...]
    graph: Neighbourhoods = field(repr=False, compare=False)
    _places: Mapping[str, int] = field(repr=False, compare=False)

    @cached_property
    def hybrid(self) -> bool:
        """Whether keys have ML-KEM beside X25519; looked up once, as every entry asks for it."""
        return any(len(key) == HYBRID_KEY for key in self.mask_keys)

    @property
    def size(self) -> int:
        """Number of members, n."""
        return len(self.devices)

    @property
    def shown(self) -> int:
        """Number of members whose entries were verified."""
        return len(self._places)

    def position(self, device: str) -> int:
        """Return the roster position of `device`.

        Raises:
            Refusal: `NotAMember`.
        """
        try:
            return self._places[device]
        except KeyError:
            raise Refusal("NotAMember", f"{device} is not in cohort {self.name}") from None

    def holders(self, dealer: int) -> tuple[int, ...]:
        """Return the positions that hold shares of a dealer's secrets, ascending: its neighbours and itself."""
        return self.graph.around(dealer)

    def bitmap(self, positions: Iterable[int]) -> bytes:
        """Return positions as a bitmap of ceil(n/8) bytes, least significant bit first."""
        number = 0
        for position in positions:
            number |= 1 << position
        return number.to_bytes(-(-self.size // 8), "little")

    def positions(self, bitmap: bytes) -> tuple[int, ...]:
        """Return the positions in a bitmap, ascending.

        Raises:
            Refusal: `BadBitmap`, another size or a bit behind the last member.
        """
        return named(bitmap, self.size)


def check_join(message: Join, taken: Container[bytes], pair: KeyPair, suite: str = CLASSIC) -> None:
    """Refuse a JOIN whose keys no roster can hold: in one, every other member would refuse it and the cohort would end.

    Args:
        message: the JOIN.
        taken: the identity keys of everybody who was offered the plan, and the parts of the keys of the others' JOINs.
        pair: any key pair of the caller's: with a key of small order every pair shares zero.
        suite: the plan's keys.

    Raises:
        Refusal: `WrongShape`, `DuplicateKey` or `WeakKey`.
    """
    keys = (message.mask_key, message.seal_key)
    for key in keys:
        hybrid.check_size(key, suite)
    shown = [part for key in keys for part in hybrid.parts(key)]
    if len(set(shown)) < len(shown) or any(part in taken for part in shown):
        raise Refusal("DuplicateKey", "a key of this JOIN is somebody's already: draw new keys")
    for key in keys:
        pair.shared(key)
        for part in hybrid.parts(key)[1:]:
            kem.check(part)


def verified(
    roster: Roster,
    context: bytes,
    profile: str,
    authority: Authority,
    *,
    rule: Graph = USUAL,
    own: Member | None = None,
    suite: str = CLASSIC,
) -> Cohort:
    """Return the cohort of a roster after checking every entry that it shows against one's own ctx1.

    Args:
        roster: the message.
        context: ctx1, 32 bytes, from the digests that the caller computed itself.
        profile: the plan's.
        authority: whose certificates count.
        rule: the plan's.
        own: the caller's own entry, where the roster may show its neighbours alone.
        suite: the plan's keys.

    Raises:
        Refusal: `WrongShape`, `ForgedJoin`, `DuplicateMember`, `DuplicateKey`, `WrongRule`, `NotInRoster`,
            `WrongNeighbours`, or one of `Authority.certificate`.
    """
    devices = tuple(member.device for member in roster.members)
    if list(devices) != sorted(set(devices)):
        raise Refusal("DuplicateMember", "the roster is not in strictly ascending order of ids")
    try:
        degree, threshold = graph.rule(roster.size, rule, profile)
    except LocalProtocolError as error:
        raise Refusal("WrongRule", str(error)) from error
    if (roster.neighbours, roster.threshold, roster.profile) != (degree, threshold, profile):
        raise Refusal(
            "WrongRule",
            f"the roster names {roster.profile}, k = {roster.neighbours}, t = {roster.threshold}; the rule for "
            f"{roster.size} members gives {profile}, k = {degree}, t = {threshold}",
        )
    tree = RosterTree(roster)
    if roster.whole:
        _check_neighbours(roster, tree, own)
    for member in roster.members:
        hybrid.check_size(member.mask_key, suite)
        hybrid.check_size(member.seal_key, suite)
        certificate = members.certificate_of(member)
        authority.certificate(certificate, member.device)
        payload = prg.digest(members.join_of(member, certificate))
        covered = signed_bytes(JOIN_TAG, member.device, "aggregator", context, payload)
        try:
            verify(member.identity, covered, member.signature, f"JOIN of {member.device}")
        except SignatureError as error:
            raise Refusal("ForgedJoin", str(error)) from error
    return assembled(roster, context, tree)


def _check_neighbours(roster: Roster, tree: RosterTree, own: Member | None) -> None:
    """Refuse a roster that does not show exactly the neighbours that its own tree gives to `own`."""
    if own not in roster.members:
        raise Refusal("NotInRoster", "the roster does not hold the JOIN that this device sent")
    place = tree.positions[roster.members.index(own)]
    if Neighbourhoods(tree.root, roster.size, roster.neighbours).around(place) != tree.positions:
        raise Refusal("WrongNeighbours", "the roster shows others than this device's neighbours in its graph")


def assembled(roster: Roster, context: bytes, tree: RosterTree | None = None) -> Cohort:
    """Return the cohort of a roster whose JOINs the caller has verified.

    Args:
        roster: the message.
        context: ctx1, 32 bytes.
        tree: of that roster, where the caller has it.

    Raises:
        Refusal: `DuplicateKey`.
    """
    shown, tree = roster.members, RosterTree(roster) if tree is None else tree
    positions = tree.positions
    keys = [key for member in shown for key in (member.mask_key, member.seal_key, member.identity)]
    parts = [part for key in keys for part in hybrid.parts(key)]
    if len(set(parts)) != len(parts):
        raise Refusal("DuplicateKey", "a key stands twice in the roster")
    size, rule = roster.size, (roster.neighbours, roster.threshold)

    def laid_out(values: Iterable[_Shown], nothing: _Shown) -> tuple[_Shown, ...]:
        row = [nothing] * size
        for position, found in zip(positions, values, strict=True):
            row[position] = found
        return tuple(row)

    return Cohort(
        name=roster.cohort,
        profile=roster.profile,
        context=prg.digest(cbor.encode([context, roster.cohort, size, tree.root, roster.profile, *rule])),
        root=tree.root,
        neighbours=roster.neighbours,
        threshold=roster.threshold,
        devices=laid_out((member.device for member in shown), ""),
        identities=laid_out((member.identity for member in shown), b""),
        mask_keys=laid_out((member.mask_key for member in shown), b""),
        seal_keys=laid_out((member.seal_key for member in shown), b""),
        graph=Neighbourhoods(tree.root, size, roster.neighbours),
        _places={member.device: position for member, position in zip(shown, positions, strict=True)},
    )


def new_roster(name: str, profile: str, shown: Iterable[Member], rule: Graph = USUAL) -> Roster:
    """Return the roster message of a new cohort that shows everybody: members in ascending order of their ids."""
    ordered = tuple(sorted(shown, key=lambda member: member.device))
    neighbours, threshold = graph.rule(len(ordered), rule, profile)
    return Roster(cohort=name, profile=profile, neighbours=neighbours, threshold=threshold, members=ordered)


def shown_to(roster: Roster, cohort: Cohort, tree: RosterTree, device: str) -> Roster:
    """Return what one member of a cohort on a sparse graph gets of its roster.

    Args:
        roster: the one that shows everybody.
        cohort: of that roster.
        tree: of that roster.
        device: the member.
    """
    near = cohort.holders(cohort.position(device))
    return replace(
        roster,
        members=tuple(roster.members[position] for position in near),
        whole=roster.size,
        shown=cohort.bitmap(near),
        proof=b"".join(merkle.gaps(tree.nodes, near)),
    )
