"""A verified roster: who is in a cohort, under which keys, bound to one context. Both roles compute it alike."""

from collections.abc import Container, Iterable, Sequence

from accord import cbor, merkle, prg
from accord.errors import LocalProtocolError, Refusal, SignatureError
from accord.secagg import graph
from accord.secagg.authority import Authority
from accord.secagg.keys import KeyPair
from accord.signing import verify
from accord.values import dataclass
from accord.wire.envelope import signed_bytes
from accord.wire.messages import Join, Member, Roster

JOIN_TAG = "join/1"


def first_context(plan: bytes, bundle_digest: bytes, params_digest: bytes) -> bytes:
    """Return ctx1 = H(["accord/1/ctx", plan, bundle digest, params digest]), digests computed by the device itself."""
    return prg.digest(cbor.encode(["accord/1/ctx", plan, bundle_digest, params_digest]))


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """A roster whose every entry was verified; positions are those of the roster."""

    name: str
    context: bytes
    """ctx2 = H([ctx1, cohort id, roster root, profile, k, t]), 32 bytes."""
    root: bytes
    neighbours: int
    threshold: int
    devices: tuple[str, ...]
    identities: tuple[bytes, ...]
    mask_keys: tuple[bytes, ...]
    seal_keys: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Number of members, n."""
        return len(self.devices)

    def position(self, device: str) -> int:
        """Return the roster position of `device`.

        Raises:
            Refusal: `NotAMember`.
        """
        try:
            return self.devices.index(device)
        except ValueError:
            raise Refusal("NotAMember", f"{device} is not in cohort {self.name}") from None

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


def new_roster(name: str, profile: str, members: Iterable[Member]) -> Roster:
    """Return the roster message of a new cohort: members in ascending order of their ids."""
    ordered = tuple(sorted(members, key=lambda member: member.device))
    neighbours, threshold = graph.standard(len(ordered))
    return Roster(cohort=name, profile=profile, neighbours=neighbours, threshold=threshold, members=ordered)


def verified(roster: Roster, context: bytes, profile: str, authority: Authority) -> Cohort:
    """Return the cohort of a roster after checking every entry against one's own ctx1.

    Args:
        roster: the message.
        context: ctx1, 32 bytes, from the digests that the caller computed itself.
        profile: the plan's.
        authority: whose certificates count.

    Raises:
        Refusal: `ForgedJoin`, `DuplicateMember`, `DuplicateKey`, `WrongRule`, or one of `Authority.certificate`.
    """
    devices = tuple(member.device for member in roster.members)
    if list(devices) != sorted(set(devices)):
        raise Refusal("DuplicateMember", "the roster is not in strictly ascending order of ids")
    try:
        rule = graph.standard(len(devices))
    except LocalProtocolError as error:
        raise Refusal("WrongRule", str(error)) from error
    if (roster.neighbours, roster.threshold, roster.profile) != (*rule, profile):
        raise Refusal(
            "WrongRule",
            f"the roster names {roster.profile}, k = {roster.neighbours}, t = {roster.threshold}; the rule for "
            f"{len(devices)} members gives {profile}, k = {rule[0]}, t = {rule[1]}",
        )
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


def assembled(roster: Roster, context: bytes, identities: Sequence[bytes]) -> Cohort:
    """Return the cohort of a roster whose JOINs the caller has verified.

    Args:
        roster: the message.
        context: ctx1, 32 bytes.
        identities: the members' identity keys, in roster order.

    Raises:
        Refusal: `DuplicateKey`.
    """
    joins = [Join.decode(member.join) for member in roster.members]
    mine = [key for join in joins for key in (join.mask_key, join.seal_key)]
    if len({*mine, *identities}) != len(mine) + len(identities):
        raise Refusal("DuplicateKey", "a key stands twice in the roster")
    root = merkle.root([member.encode() for member in roster.members])
    rule = (roster.neighbours, roster.threshold)
    return Cohort(
        name=roster.cohort,
        context=prg.digest(cbor.encode([context, roster.cohort, root, roster.profile, *rule])),
        root=root,
        neighbours=roster.neighbours,
        threshold=roster.threshold,
        devices=tuple(member.device for member in roster.members),
        identities=tuple(identities),
        mask_keys=tuple(join.mask_key for join in joins),
        seal_keys=tuple(join.seal_key for join in joins),
    )
