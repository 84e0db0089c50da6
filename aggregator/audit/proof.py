"""A proof that stands alone: entries, why they are in the log, who signed it, and who says whose signature counts.

Whoever holds the fleet root's public key checks it without the log. See docs/protocol.md, section 16.
"""

from collections.abc import Sequence
from typing import ClassVar

from accord import merkle
from accord.errors import CodecError, Refusal, SignatureError
from accord.records import Many, Nested, Octets, Record, field
from accord.secagg.authority import trusted_roles
from accord.values import dataclass
from accord.wire.envelope import Envelope
from accord.wire.messages import DIGEST, LOG_SIZE, Checkpoint, Roles, opened
from aggregator.audit.entries import AuditEntry, tag_field

LARGEST = 1 << 22
"""Bytes of a proof."""
MOST = 2_000
"""Entries in one proof."""


@dataclass(frozen=True, kw_only=True)
class ProvenEntry(Record):
    """One entry's exact bytes, where it stands, and the hashes from it to the root."""

    index: int = field(LOG_SIZE)
    leaf: bytes = field(Octets(1, AuditEntry.LIMIT))
    path: tuple[bytes, ...] = field(Many(DIGEST, 0, merkle.LARGEST_PROOF))


@dataclass(frozen=True, kw_only=True)
class AuditProof(Record):
    """What `accord audit prove` writes."""

    LIMIT: ClassVar[int] = LARGEST

    tag: str = tag_field("audit-proof/1")
    roles: bytes = field(Octets(1, 1 << 16))
    checkpoint: bytes = field(Octets(1, 4_096))
    entries: tuple[ProvenEntry, ...] = field(Many(Nested(ProvenEntry), 1, MOST))


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What a proof shows: these entries, by index, are in this tenant's log of `size` entries."""

    tenant: str
    roles_version: int
    size: int
    root: bytes
    entries: tuple[tuple[int, AuditEntry], ...]


def made(tree: merkle.Tree, leaves: Sequence[tuple[int, bytes]], checkpoint: bytes, roles: bytes) -> AuditProof:
    """Return the proof for entries under one signed checkpoint.

    Args:
        tree: at least as large as the checkpoint.
        leaves: index and exact bytes of each entry, at most `MOST`.
        checkpoint: the signed letter; the entries stand before its end.
        roles: the signed document that names who signed it.
    """
    size = opened(Envelope.decode(checkpoint), Checkpoint).size
    proven = tuple(ProvenEntry(index=index, leaf=leaf, path=tree.inclusion(index, size)) for index, leaf in leaves)
    return AuditProof(roles=roles, checkpoint=checkpoint, entries=proven)


def check(proof: AuditProof, root: bytes) -> Proven:
    """Check a proof with nothing but the fleet root's public key.

    Args:
        proof: from anywhere.
        root: 32 bytes.

    Raises:
        Refusal: `NotTheRoot`, somebody else says who the aggregator is; `ForeignCheckpoint`, the aggregator of that
            document did not sign the checkpoint; `NotInLog`, an entry is not in the log.
        CodecError: a part is not well formed.
    """
    tenant = opened(Envelope.decode(proof.roles), Roles).tenant
    # A proof outlives the roles document that it was made under: its end is not looked at.
    roles = trusted_roles(proof.roles, root, tenant, now=-1, seen=0)
    letter = Envelope.decode(proof.checkpoint)
    try:
        letter.check(roles.aggregator)
    except SignatureError as error:
        raise Refusal("ForeignCheckpoint", "the checkpoint is not signed by the aggregator of the proof") from error
    if letter.recipient != tenant:
        raise Refusal("ForeignCheckpoint", f"the checkpoint is of the log of {letter.recipient}, not {tenant}")
    head = opened(letter, Checkpoint)
    entries = []
    for one in proof.entries:
        merkle.check_inclusion(merkle.leaf_hash(one.leaf), one.index, head.size, head.root, one.path)
        entries.append((one.index, AuditEntry.decode(one.leaf)))
    return Proven(tenant=tenant, roles_version=roles.version, size=head.size, root=head.root, entries=tuple(entries))


def signer(checkpoint: bytes, documents: Sequence[bytes]) -> bytes | None:
    """Return the roles document whose aggregator signed a checkpoint, or None."""
    letter = Envelope.decode(checkpoint)
    for data in documents:
        try:
            letter.check(opened(Envelope.decode(data), Roles).aggregator)
        except (SignatureError, CodecError):
            continue
        return data
    return None
