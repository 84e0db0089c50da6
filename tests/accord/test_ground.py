"""Ground: names, entropy, digests, keystream, signatures, trees and layouts."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord import merkle, prg, signing
from accord.entropy import SeededEntropy, SystemEntropy
from accord.errors import CodecError, LocalProtocolError, SignatureError, UsageError
from accord.ids import checked_device, checked_name
from accord.tensors import Layout, layout_of


@pytest.mark.parametrize("name", ["a", "dev-1", "x" * 64, "a.b_c-9"])
def test_names_that_can_stand_in_a_topic(name: str) -> None:
    assert checked_name(name, "tenant") == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "a+", "#", "x" * 65, "a\n", "é"])
def test_names_that_can_not(name: str) -> None:
    with pytest.raises(CodecError, match="tenant"):
        checked_name(name, "tenant")


def test_no_device_is_called_aggregator() -> None:
    with pytest.raises(CodecError, match="reserved"):
        checked_device("aggregator")


def test_seeded_entropy_repeats_and_its_children_are_independent() -> None:
    first, second = SeededEntropy(7), SeededEntropy(7)
    first(1000)
    assert first.child("a", 1)(64) == second.child("a", 1)(64)
    assert second.child("a", 1)(64) != second.child("a", 2)(64)
    assert "7" not in repr(first)
    assert len(SystemEntropy().child("x")(48)) == 48


def test_keystream_is_rfc_8439_appendix_a_1() -> None:
    expected = "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d5"
    assert prg.keystream_pynacl(bytes(32), bytes(12), 48).hex() == expected
    assert prg.keystream_cryptography(bytes(32), bytes(12), 48).hex() == expected


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=12, max_size=12), st.integers(0, 5000))
def test_both_backends_give_the_same_bytes(key: bytes, nonce: bytes, size: int) -> None:
    assert prg.keystream_pynacl(key, nonce, size) == prg.keystream_cryptography(key, nonce, size)


def test_signatures_are_rfc_8032_section_7_1() -> None:
    key = signing.SigningKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    signing.verify(key.public, b"", key.sign(b""), "test")


def test_a_signature_holds_for_its_bytes_alone_and_keys_stay_secret() -> None:
    key = signing.SigningKey(b"s" * 32)
    for public, data, signature in [
        (key.public, b"other", key.sign(b"data")),
        (signing.SigningKey(b"t" * 32).public, b"data", key.sign(b"data")),
        (key.public, b"data", key.sign(b"data")[:-1]),
        (b"", b"data", key.sign(b"data")),
    ]:
        with pytest.raises(SignatureError, match="JOIN of dev-1"):
            signing.verify(public, data, signature, "JOIN of dev-1")
    assert (b"s" * 32).hex() not in repr(key)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
    with pytest.raises(LocalProtocolError):
        signing.SigningKey(b"short")


def test_merkle_roots_are_rfc_6962() -> None:
    assert merkle.root([]) == hashlib.sha256(b"").digest()
    leaves = [bytes([i]) for i in range(3)]
    pair = hashlib.sha256(b"\x01" + merkle.leaf_hash(leaves[0]) + merkle.leaf_hash(leaves[1])).digest()
    assert merkle.root(leaves) == hashlib.sha256(b"\x01" + pair + merkle.leaf_hash(leaves[2])).digest()


@given(st.lists(st.binary(max_size=8), min_size=2, max_size=40), st.data())
def test_merkle_root_binds_every_leaf_and_the_order(leaves: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(leaves) - 1))
    changed = [*leaves[:at], leaves[at] + b"!", *leaves[at + 1 :]]
    assert merkle.root(changed) != merkle.root(leaves) != merkle.root(leaves[:-1])


def test_layout_flattens_and_views() -> None:
    layout = layout_of({"w": np.zeros((2, 3)), "b": np.zeros(3), "s": np.float32(0)})
    assert layout.size == 10
    vector = layout.flatten({"w": np.arange(6).reshape(2, 3), "b": [7, 8, 9], "s": 5})
    layout.views(vector)["b"][0] = 70
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 70, 8, 9, 5]


@pytest.mark.parametrize("tensors", [(), (("a", (1,)), ("a", (2,))), (("", (1,)),), (("a", (0,)),), (("a", (2**29,)),)])
def test_layouts_that_can_not_be_built(tensors: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
    with pytest.raises(UsageError):
        Layout(tensors)


def test_values_that_do_not_fit_a_layout() -> None:
    layout = Layout((("w", (2, 2)),))
    for values in ({}, {"w": np.zeros(4)}, {"w": np.zeros((2, 2)), "x": 1}):
        with pytest.raises(UsageError):
            layout.flatten(values)
    with pytest.raises(UsageError):
        layout.views(np.zeros(5, np.float32))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_a_digest_is_the_same_from_either_library(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    for kind in (bytes, bytearray, memoryview):
        assert prg.digest(kind(data[:size])) == hashlib.blake2b(data[:size], digest_size=32).digest()
