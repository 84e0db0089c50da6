"""A verified roster: who is in a cohort, under which keys, bound to one context. Both roles compute it alike."""

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import TypeVar

from accord import cbor, merkle, prg
from accord.errors import LocalProtocolError, Refusal, SignatureError
from accord.plan import Graph
from accord.secagg import graph
from accord.secagg.authority import Authority
from accord.secagg.graph import Neighbourhoods
from accord.secagg.keys import KeyPair
from accord.signing import verify
from accord.values import dataclass
from accord.wire.envelope import signed_bytes
from accord.wire.secure_sum import LEAF, Join, Member, Roster

JOIN_TAG = "join/1"
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
    """ctx2 = H([ctx1, cohort id, roster root, profile, k, t]), 32 bytes."""
    root: bytes
    neighbours: int
    threshold: int
    devices: tuple[str, ...]
    identities: tuple[bytes, ...]
    mask_keys: tuple[bytes, ...]
    seal_keys: tuple[bytes, ...]
    graph: Neighbourhoods = field(repr=False, compare=False)
    _places: Mapping[str, int] = field(repr=False, compare=False)

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

    def rank(self, holder: int, dealer: int) -> int:
        """Return the place of a holder among those of a dealer, from 0: its share's index less one."""
        return bisect_left(self.graph.around(dealer), holder)

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
        number = int.from_bytes(bitmap, "little")
        if len(bitmap) != -(-self.size // 8) or number >> self.size:
            raise Refusal("BadBitmap", f"{len(bitmap)} bytes do not name members of a cohort of {self.size}")
        return tuple(p for p in range(self.size) if number >> p & 1)


def check_join(message: Join, taken: Container[bytes], pair: KeyPair) -> None:
    """Refuse a JOIN whose keys no roster can hold: in one, every other member would refuse it and the cohort would end.

    Args:
        message: the JOIN.
        taken: the identity keys of everybody who was offered the plan, and the keys of the others' JOINs.
        pair: any key pair of the caller's: with a key of small order every pair shares zero.

    Raises:
        Refusal: `DuplicateKey` or `WeakKey`.
    """
    shown = (message.mask_key, message.seal_key)
    if shown[0] == shown[1] or any(key in taken for key in shown):
        raise Refusal("DuplicateKey", "a key of this JOIN is somebody's already: draw new keys")
    for key in shown:
        pair.shared(key)


def new_roster(name: str, profile: str, members: Iterable[Member], rule: Graph = USUAL) -> Roster:
    """Return the roster message of a new cohort that shows everybody: members in ascending order of their ids."""
    ordered = tuple(sorted(members, key=lambda member: member.device))
    neighbours, threshold = graph.rule(len(ordered), rule, profile)
    return Roster(cohort=name, profile=profile, neighbours=neighbours, threshold=threshold, members=ordered)


def shown_to(roster: Roster, cohort: Cohort, leaves: bytes, device: str) -> Roster:
    """Return what one member of a cohort on a sparse graph gets of its roster.

    Args:
        roster: the one that shows everybody.
        cohort: of that roster.
        leaves: the hashes of all entries, from `leaves_of`.
        device: the member.
    """
    near = tuple(roster.members[position] for position in cohort.holders(cohort.position(device)))
    return replace(roster, members=near, leaves=leaves)


def leaves_of(roster: Roster) -> bytes:
    """Return the hashes of a roster's entries in the tree, 32 bytes each."""
    return b"".join(merkle.leaf_hash(member.encode()) for member in roster.members)


def verified(
    roster: Roster,
    context: bytes,
    profile: str,
    authority: Authority,
    *,
    rule: Graph = USUAL,
    own: Member | None = None,
) -> Cohort:
    """Return the cohort of a roster after checking every entry that it shows against one's own ctx1.

    Args:
        roster: the message.
        context: ctx1, 32 bytes, from the digests that the caller computed itself.
        profile: the plan's.
        authority: whose certificates count.
        rule: the plan's.
        own: the caller's own entry, where the roster may show its neighbours alone.

    Raises:
        Refusal: `WrongShape`, `ForgedJoin`, `DuplicateMember`, `DuplicateKey`, `WrongRule`, `NotInRoster`,
            `WrongNeighbours`, or one of `Authority.certificate`.
    """
    if len(roster.leaves) % LEAF:
        raise Refusal("WrongShape", f"a roster's leaves have {LEAF} bytes each, not {len(roster.leaves)} in all")
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
    if roster.leaves:
        _check_neighbours(roster, own)
    identities = []
    for member in roster.members:
        certificate = authority.certificate(Join.decode(member.join).certificate, member.device)
        covered = signed_bytes(JOIN_TAG, member.device, "aggregator", context, member.join)
        try:
            verify(certificate.identity, covered, member.signature, f"JOIN of {member.device}")
        except SignatureError as error:
            raise Refusal("ForgedJoin", str(error)) from error
        identities.append(certificate.identity)
    return assembled(roster, context, identities)


def _split(leaves: bytes) -> list[bytes]:
    return [leaves[at : at + LEAF] for at in range(0, len(leaves), LEAF)]


def _check_neighbours(roster: Roster, own: Member | None) -> None:
    """Refuse a roster that does not show exactly the neighbours that its own tree gives to `own`."""
    leaves = _split(roster.leaves)
    leaf = b"" if own is None else merkle.leaf_hash(own.encode())
    if leaf not in leaves:
        raise Refusal("NotInRoster", "the roster does not hold the JOIN that this device sent")
    if len(set(leaves)) != len(leaves):
        raise Refusal("DuplicateMember", "an entry stands twice in the roster's tree")
    near = Neighbourhoods(merkle.head(leaves), len(leaves), roster.neighbours).around(leaves.index(leaf))
    if [leaves[position] for position in near] != [merkle.leaf_hash(member.encode()) for member in roster.members]:
        raise Refusal("WrongNeighbours", "the roster shows others than this device's neighbours in its graph")


def assembled(roster: Roster, context: bytes, identities: Sequence[bytes]) -> Cohort:
    """Return the cohort of a roster whose JOINs the caller has verified.

    Args:
        roster: the message.
        context: ctx1, 32 bytes.
        identities: the identity keys of the members that it shows, in roster order.

    Raises:
        Refusal: `DuplicateKey`.
    """
    joins = [Join.decode(member.join) for member in roster.members]
    mine = [key for join in joins for key in (join.mask_key, join.seal_key)]
    if len({*mine, *identities}) != len(mine) + len(identities):
        raise Refusal("DuplicateKey", "a key stands twice in the roster")
    entries = [merkle.leaf_hash(member.encode()) for member in roster.members]
    leaves = _split(roster.leaves) or entries
    root = merkle.head(leaves)
    rule = (roster.neighbours, roster.threshold)
    at = {leaf: position for position, leaf in enumerate(leaves)}
    positions = [at[entry] for entry in entries]

    def laid_out(values: Iterable[_Shown], nothing: _Shown) -> tuple[_Shown, ...]:
        row = [nothing] * len(leaves)
        for position, found in zip(positions, values, strict=True):
            row[position] = found
        return tuple(row)

    return Cohort(
        name=roster.cohort,
        profile=roster.profile,
        context=prg.digest(cbor.encode([context, roster.cohort, root, roster.profile, *rule])),
        root=root,
        neighbours=roster.neighbours,
        threshold=roster.threshold,
        devices=laid_out((member.device for member in roster.members), ""),
        identities=laid_out(identities, b""),
        mask_keys=laid_out((join.mask_key for join in joins), b""),
        seal_keys=laid_out((join.seal_key for join in joins), b""),
        graph=Neighbourhoods(root, len(leaves), roster.neighbours),
        _places={member.device: position for member, position in zip(roster.members, positions, strict=True)},
    )
