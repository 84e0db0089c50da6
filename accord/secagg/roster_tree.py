"""The tree over a roster's entries: its head, and where the entries that a roster shows stand. Verifies nobody."""

from accord import merkle
from accord.errors import Refusal
from accord.wire.secure_sum import LEAF, Roster


def named(bitmap: bytes, size: int) -> tuple[int, ...]:
    """Return the positions, ascending, that a bitmap names of a cohort of `size`.

    Raises:
        Refusal: `BadBitmap`, another size or a bit behind the last member.
    """
    number = int.from_bytes(bitmap, "little")
    if len(bitmap) != -(-size // 8) or number >> size:
        raise Refusal("BadBitmap", f"{len(bitmap)} bytes do not name members of a cohort of {size}")
    return tuple(p for p in range(size) if number >> p & 1)


class RosterTree:
    """Where the entries that a roster shows stand, and the head of the tree of them all.

    Raises:
        Refusal: `WrongShape`, what the roster says of its tree does not fit together.
    """

    def __init__(self, roster: Roster) -> None:
        entries = [merkle.leaf_hash(member.encoded) for member in roster.members]
        self.nodes: list[list[bytes]] = []
        """All nodes, from the leaves up, where the roster shows everybody."""
        if roster.whole:
            self.positions = named(roster.shown, roster.whole)
            if len(self.positions) != len(entries) or not entries or len(roster.proof) % LEAF:
                raise Refusal("WrongShape", f"{len(entries)} entries of a roster stand at {len(self.positions)} places")
            proof = [roster.proof[at : at + LEAF] for at in range(0, len(roster.proof), LEAF)]
            self.root = merkle.head_of_some(roster.whole, dict(zip(self.positions, entries, strict=True)), proof)
        else:
            if roster.shown or roster.proof or not entries:
                raise Refusal("WrongShape", "a roster that shows everybody has no proof, and one member at least")
            self.positions = tuple(range(len(entries)))
            self.nodes = merkle.levels(entries)
            self.root = self.nodes[-1][0]
