"""Merkle trees of RFC 6962 and RFC 9162, section 2.1: heads, inclusion and consistency proofs, and their checks.

A tree knows the hash of every complete subtree, so that a leaf is added without hashing the others again. What a device
needs is the two functions `check_inclusion` and `check_consistency`, which need no tree. Holds no log.
See docs/protocol.md, section 16.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from accord.errors import LocalProtocolError, Refusal

SIZE = 32
"""Bytes of a hash."""
LARGEST_PROOF = 64
"""Hashes in a proof, at most: a tree of 2^53 leaves needs 54."""
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree with no leaves (RFC 6962, section 2.1)."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one leaf: SHA-256(0x00 || data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the 32-byte tree head over `leaves`, in their order (RFC 6962, section 2.1)."""
    return head([leaf_hash(leaf) for leaf in leaves])


def head(hashes: Sequence[bytes]) -> bytes:
    """Return the 32-byte tree head over leaves whose hashes are given, in their order."""
    tree = Tree()
    for known in hashes:
        tree.append(known)
    return tree.root()


def levels(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return all nodes of a tree of at least one leaf, from the leaves' hashes up to its head alone.

    Two neighbours are joined, and one without a neighbour goes up as it is: the tree of RFC 6962, from below.
    """
    found = [list(hashes)]
    while len(found[-1]) > 1:
        below = found[-1]
        above = [node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)]
        found.append(above + below[2 * len(above) :])
    return found


def gaps(nodes: Sequence[Sequence[bytes]], shown: Iterable[int]) -> list[bytes]:
    """Return the hashes from which, with the leaves at the positions `shown`, the head follows: see `head_of_some`.

    Args:
        nodes: from `levels`.
        shown: positions, at least one.
    """
    proof, known = [], set(shown)
    for level in nodes[:-1]:
        proof += [level[at ^ 1] for at in sorted(known) if at ^ 1 not in known and at ^ 1 < len(level)]
        known = {at >> 1 for at in known}
    return proof


def head_of_some(size: int, leaves: Mapping[int, bytes], proof: Sequence[bytes]) -> bytes:
    """Return the head of a tree of which some leaves are known, from the hashes of what lies between them.

    Args:
        size: leaves in the tree.
        leaves: at least one leaf's hash, by its position below `size`.
        proof: level by level from the leaves, and from left to right, the hashes that a level's known nodes are joined
            with and that are not known.

    Raises:
        Refusal: `WrongShape`, the proof has more or fewer hashes.
    """
    unfit = Refusal("WrongShape", f"a proof of {len(proof)} hashes does not fit {len(leaves)} of {size} leaves")
    left, known = iter(proof), dict(leaves)
    while size > 1:
        above = {}
        for at in sorted(known):
            beside = at ^ 1
            if beside in known:
                if at & 1:
                    continue
                other = known[beside]
            elif beside < size:
                found = next(left, None)
                if found is None:
                    raise unfit
                other = found
            else:
                above[at >> 1] = known[at]
                continue
            above[at >> 1] = node_hash(other, known[at]) if at & 1 else node_hash(known[at], other)
        known, size = above, (size + 1) >> 1
    if next(left, None) is not None:
        raise unfit
    return known[0]


class Tree:
    """A tree that grows: 64 bytes of memory per leaf; each method but `append` takes O((log n)^2) hashes at most."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]
        """Level k holds, side by side, the hash of each complete subtree of 2^k leaves."""

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._levels[0]) // SIZE

    def append(self, leaf: bytes) -> int:
        """Add the hash of a leaf and return its index; two hashes on average, one for each complete subtree it ends."""
        if len(leaf) != SIZE:
            raise LocalProtocolError(f"a leaf's hash has {SIZE} bytes, not {len(leaf)}")
        index, level = self.size, 0
        self._levels[0] += leaf
        while index >> level & 1:
            if level + 1 == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level + 1] += node_hash(*self._last_two(level))
            level += 1
        return index

    def leaf(self, index: int) -> bytes:
        """Return the hash of leaf `index`."""
        self._within(index < self.size, index, self.size)
        return self._node(0, index)

    def root(self, size: int | None = None) -> bytes:
        """Return the head of the first `size` leaves, of all if None.

        Raises:
            LocalProtocolError: there are fewer leaves.
        """
        size = self.size if size is None else size
        self._within(0 <= size <= self.size, 0, size)
        return self._head(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that leaf `index` is among the first `size` (RFC 9162, section 2.1.3.1).

        Raises:
            LocalProtocolError: it is not, or there are fewer leaves.
        """
        self._within(0 <= index < size <= self.size, index, size)
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._head(middle, end))
                end = middle
            else:
                proof.append(self._head(start, middle))
                start = middle
        return tuple(reversed(proof))

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the proof that the first `old` leaves begin the first `new` (RFC 9162, section 2.1.4.1).

        The empty tree begins every tree, and a tree itself: both proofs are empty.

        Raises:
            LocalProtocolError: `old` is larger than `new`, or there are fewer leaves.
        """
        self._within(0 <= old <= new <= self.size, old, new)
        if old in (0, new):
            return ()
        proof: list[bytes] = []
        start, end, whole = 0, new, True
        while old != end:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._head(middle, end))
                end = middle
            else:
                proof.append(self._head(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._head(start, end))
        return tuple(reversed(proof))

    def _within(self, holds: bool, index: int, size: int) -> None:
        if not holds:
            raise LocalProtocolError(f"{index} of {size}: the tree has {self.size} leaves")

    def _node(self, level: int, at: int) -> bytes:
        return bytes(self._levels[level][SIZE * at : SIZE * (at + 1)])

    def _last_two(self, level: int) -> tuple[bytes, bytes]:
        last = self._levels[level][-2 * SIZE :]
        return bytes(last[:SIZE]), bytes(last[SIZE:])

    def _head(self, start: int, end: int) -> bytes:
        """Return the head of leaves `start` to `end`, a subtree of RFC 6962: `start` is a multiple of its power of two.

        Its complete subtrees are joined from the right.
        """
        parts: list[bytes] = []
        while start < end:
            level = (end - start).bit_length() - 1
            parts.append(self._node(level, start >> level))
            start += 1 << level
        found = parts.pop()
        while parts:
            found = node_hash(parts.pop(), found)
        return found


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def check_inclusion(leaf: bytes, index: int, size: int, head: bytes, proof: Sequence[bytes]) -> None:
    """Check that a leaf is in a tree (RFC 9162, section 2.1.3.2).

    Args:
        leaf: the leaf's hash, 32 bytes.
        index: where it is said to stand, from 0.
        size: leaves in the tree.
        head: the tree's root, 32 bytes.
        proof: hashes of 32 bytes, from the leaf upwards.

    Raises:
        Refusal: `NotInLog`.
    """
    sides = _sides(index, size - 1) if 0 <= index < size else None
    if sides is None or not _are_hashes(leaf, head, *proof) or len(proof) != len(sides):
        raise Refusal("NotInLog", f"the proof is none for entry {index} of a log of {size}")
    found = leaf
    for step, left in zip(proof, sides, strict=True):
        found = node_hash(step, found) if left else node_hash(found, step)
    if found != head:
        raise Refusal("NotInLog", f"the proof does not lead from entry {index} to the root of the log of {size}")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that one tree begins with another (RFC 9162, section 2.1.4.2).

    Args:
        old: leaves of the tree that is known.
        old_root: its root, 32 bytes.
        new: leaves of the tree that is shown.
        new_root: its root, 32 bytes.
        proof: hashes of 32 bytes; none if the sizes are equal or `old` is 0.

    Raises:
        Refusal: `LogForked`, the new tree is smaller, or of the same size and another; `NoConsistencyProof`, it is
            larger and the proof does not show that it begins with the old one.
    """
    if not 0 <= old <= new:
        raise Refusal("LogForked", f"a log of {new} entries was shown, and one of {old} before")
    if (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
        raise Refusal("LogForked", f"two logs of {old} entries, {old_root.hex()[:16]} and {new_root.hex()[:16]}")
    nothing = f"nothing shows that the log of {new} entries begins with that of {old}"
    if old in (0, new):
        if proof:
            raise Refusal("NoConsistencyProof", f"from {old} to {new} entries there is nothing to prove")
        return
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    sides = _sides(at, last)
    if not _are_hashes(old_root, new_root, *steps) or len(steps) != 1 + len(sides):
        raise Refusal("NoConsistencyProof", nothing)
    before = after = steps[0]
    for step, left in zip(steps[1:], sides, strict=True):
        before = node_hash(step, before) if left else before
        after = node_hash(step, after) if left else node_hash(after, step)
    if before != old_root or after != new_root:
        raise Refusal("NoConsistencyProof", nothing)


def _sides(at: int, last: int) -> list[bool]:
    """Return for each step from leaf `at` to the root of a tree whose last leaf is `last` whether its hash is left."""
    sides: list[bool] = []
    while last:
        left = at & 1 == 1 or at == last
        sides.append(left)
        while left and at and not at & 1:
            at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    return sides


def _are_hashes(*values: bytes) -> bool:
    return all(type(value) is bytes and len(value) == SIZE for value in values)
