"""Trees: published vectors, the RFC's own definitions for every small size, and nothing altered gets through."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord import merkle
from accord.errors import LocalProtocolError, Refusal

# The eight leaves of Certificate Transparency's reference tests, and what those publish about them.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
G = "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e"
INCLUSION = {(0, 8): [A, B, C], (5, 8): [D, E, ROOTS[4]], (2, 3): [ROOTS[2]], (1, 5): [ROOTS[1], B, D]}
INCLUSION |= {(0, 7): [A, B, G], (1, 7): [ROOTS[1], B, G]}
CONSISTENCY = {(1, 1): [], (1, 8): [A, B, C], (6, 8): [F, E, ROOTS[4]], (2, 5): [B, D]}


def grown(leaves: Sequence[bytes]) -> merkle.Tree:
    tree = merkle.Tree()
    for leaf in leaves:
        tree.append(merkle.leaf_hash(leaf))
    return tree


def numbered(size: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(size)]


# RFC 6962, section 2.1, word by word.
def head(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = power_below(len(leaves))
    return hashlib.sha256(b"\x01" + head(leaves[:k]) + head(leaves[k:])).digest()


def power_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = power_below(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), head(leaves[k:])]
    return [*path(m - k, leaves[k:]), head(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], known: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if known else [head(leaves)]
    k = power_below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known), head(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), head(leaves[:k])]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_reference_tests(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]
    assert grown(LEAVES).root(size).hex() == ROOTS[size]


def test_proofs_of_the_reference_tests() -> None:
    tree = grown(LEAVES)
    for (index, size), expected in INCLUSION.items():
        assert [h.hex() for h in tree.inclusion(index, size)] == expected
    for (old, new), expected in CONSISTENCY.items():
        assert [h.hex() for h in tree.consistency(old, new)] == expected


def test_every_proof_of_every_small_tree_is_the_rfcs_and_holds() -> None:
    leaves = numbered(66)
    heads = [head(leaves[:size]) for size in range(67)]
    tree = grown(leaves)
    for size in range(67):
        assert tree.root(size) == heads[size] == grown(leaves[:size]).root()
        for index in range(size):
            proof = tree.inclusion(index, size)
            assert list(proof) == path(index, leaves[:size])
            assert tree.leaf(index) == merkle.leaf_hash(leaves[index])
            merkle.check_inclusion(tree.leaf(index), index, size, heads[size], proof)
        for old in range(size + 1):
            proof = tree.consistency(old, size)
            assert list(proof) == (subproof(old, leaves[:size], True) if old else [])
            merkle.check_consistency(old, heads[old], size, heads[size], proof)


def test_no_proof_of_a_small_tree_serves_for_another_place_or_size() -> None:
    tree = grown(numbered(18))
    heads = [tree.root(size) for size in range(19)]
    for size in range(1, 19):
        for index in range(size):
            proof = tree.inclusion(index, size)
            for other in range(-1, 20):
                if other != index:
                    with pytest.raises(Refusal, match="NotInLog"):
                        merkle.check_inclusion(tree.leaf(index), other, size, heads[size], proof)
        for old in range(size):
            proof = tree.consistency(old, size)
            for other in range(1, size):
                if other != old:
                    with pytest.raises(Refusal, match=r"NoConsistencyProof|LogForked"):
                        merkle.check_consistency(other, heads[other], size, heads[size], proof or (bytes(32),))


def altered(data: st.DataObject, proof: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return a proof with a bit turned, a hash dropped, doubled, added or moved, or one of another size."""
    at = data.draw(st.integers(0, max(0, len(proof) - 1)))
    how = data.draw(st.sampled_from(["bit", "drop", "double", "add", "swap", "size"]) if proof else st.just("add"))
    flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:] if proof else b""
    changed = {
        "bit": (*proof[:at], flipped, *proof[at + 1 :]),
        "drop": (*proof[:at], *proof[at + 1 :]),
        "double": (*proof[:at], *proof[at : at + 1], *proof[at:]),
        "add": (*proof, data.draw(st.binary(min_size=32, max_size=32))),
        "swap": (*proof[1:], *proof[:1]),
        "size": (*proof[:at], flipped[:31], *proof[at + 1 :]),
    }[how]
    return changed if changed != proof else (*proof, bytes(32))


@given(st.integers(1, 200), st.data())
def test_an_altered_inclusion_is_refused(size: int, data: st.DataObject) -> None:
    tree = grown(numbered(size))
    index = data.draw(st.integers(0, size - 1))
    leaf, top, proof = tree.leaf(index), tree.root(), tree.inclusion(index, size)
    merkle.check_inclusion(leaf, index, size, top, proof)
    wrong = data.draw(st.binary(min_size=32, max_size=32))
    for case in (
        (wrong, index, size, top, proof),
        (leaf, data.draw(st.integers(-3, 3 * size).filter(lambda i: i != index)), size, top, proof),
        (leaf, index, size, wrong, proof),
        (leaf, index, size, top[:31], proof),
        (leaf[:31], index, size, top, proof),
        (leaf, index, size, top, altered(data, proof)),
        (leaf, index, size, top, (bytes(32),) * 1_000),
    ):
        with pytest.raises(Refusal, match="NotInLog"):
            merkle.check_inclusion(*case)


@given(st.integers(1, 200), st.data())
def test_a_claimed_size_of_another_shape_is_refused(size: int, data: st.DataObject) -> None:
    # Sizes whose path has the same turns give the same hashes: the size is bound by the signed checkpoint, not by them.
    tree = grown(numbered(size))
    index = data.draw(st.integers(0, size - 1))
    proof = tree.inclusion(index, size)
    other = data.draw(st.integers(0, 2**53))
    expected = len(path_shape(index, other)) == len(proof) and path_shape(index, other) == path_shape(index, size)
    try:
        merkle.check_inclusion(tree.leaf(index), index, other, tree.root(), proof)
    except Refusal:
        assert not expected
    else:
        assert expected


def path_shape(index: int, size: int) -> list[bool]:
    """On which side the sibling stands, from the leaf up (empty for an index that is not in the tree)."""
    turns: list[bool] = []
    if not 0 <= index < size:
        return [False] * 99
    while size > 1:
        k = power_below_fast(size)
        turns.append(index >= k)
        index, size = (index - k, size - k) if index >= k else (index, k)
    return turns[::-1]


def power_below_fast(n: int) -> int:
    return 1 << ((n - 1).bit_length() - 1)


@given(st.integers(2, 200), st.data())
def test_an_altered_consistency_is_refused(new: int, data: st.DataObject) -> None:
    tree = grown(numbered(new))
    old = data.draw(st.integers(1, new - 1))
    before, after, proof = tree.root(old), tree.root(), tree.consistency(old, new)
    merkle.check_consistency(old, before, new, after, proof)
    wrong = data.draw(st.binary(min_size=32, max_size=32))
    fork = grown([b"other", *numbered(new)[1:]])
    for case in (
        (old, wrong, new, after, proof),
        (old, before, new, wrong, proof),
        (old, before[:31], new, after, proof),
        (old, before, new, after, altered(data, proof)),
        (old, before, new, after, ()),
        (old, before, new, after, (bytes(32),) * 1_000),
        (old, before, new, fork.root(), fork.consistency(old, new)),
        (0, merkle.EMPTY_ROOT, new, after, proof),
        (new, after, new, after, (after,)),
    ):
        with pytest.raises(Refusal, match="NoConsistencyProof"):
            merkle.check_consistency(*case)


@given(st.integers(0, 50), st.integers(0, 50))
def test_a_smaller_log_or_another_of_the_same_size_is_a_fork(old: int, new: int) -> None:
    mine, theirs = grown(numbered(50)), grown([b"?", *numbered(50)])
    if new < old:
        with pytest.raises(Refusal, match="LogForked"):
            merkle.check_consistency(old, mine.root(old), new, mine.root(new), ())
    if new:
        with pytest.raises(Refusal, match="LogForked"):
            merkle.check_consistency(new, mine.root(new), new, theirs.root(new), ())
    with pytest.raises(Refusal, match="LogForked"):
        merkle.check_consistency(0, theirs.root(1), new, mine.root(new), ())
    with pytest.raises(Refusal, match="LogForked"):
        merkle.check_consistency(-1, mine.root(0), new, mine.root(new), ())


def test_a_tree_proves_nothing_that_it_does_not_hold() -> None:
    tree = grown(numbered(3))
    for call in (
        lambda: tree.root(4),
        lambda: tree.root(-1),
        lambda: tree.inclusion(3, 3),
        lambda: tree.inclusion(0, 4),
        lambda: tree.inclusion(-1, 3),
        lambda: tree.consistency(2, 4),
        lambda: tree.consistency(3, 2),
        lambda: tree.leaf(3),
        lambda: tree.append(b"short"),
    ):
        with pytest.raises(LocalProtocolError):
            call()


@given(st.integers(1, 70), st.data())
def test_some_leaves_and_what_lies_between_them_give_the_head(size: int, data: st.DataObject) -> None:
    hashes = [merkle.leaf_hash(b"%d" % at) for at in range(size)]
    nodes = merkle.levels(hashes)
    assert nodes[-1] == [merkle.head(hashes)]
    shown = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    proof = merkle.gaps(nodes, shown)
    leaves = {at: hashes[at] for at in sorted(shown)}
    assert merkle.head_of_some(size, leaves, proof) == nodes[-1][0]
    at = data.draw(st.sampled_from(sorted(shown)))
    assert merkle.head_of_some(size, {**leaves, at: merkle.leaf_hash(b"other")}, proof) != nodes[-1][0]
    for other in ([*proof, bytes(32)], *([proof[:-1]] if proof else [])):
        with pytest.raises(Refusal, match="WrongShape"):
            merkle.head_of_some(size, leaves, other)
