"""The vault's parts: rings, shares, keys, the graph's rule, and packing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import CodecError, LocalProtocolError, Refusal
from accord.secagg import keys, ring, shamir
from accord.update import packing


@given(st.integers(1, 255), st.data())
def test_any_t_shares_give_the_secret_back(n: int, data: st.DataObject) -> None:
    t = data.draw(st.integers(1, n))
    secret = data.draw(st.binary(min_size=64, max_size=64))
    shares = shamir.split(secret, n, t, SeededEntropy(n))
    chosen = data.draw(st.permutations(range(n)))[:t]
    assert shamir.combine_all([chosen, chosen], [shares[p] for p in chosen] * 2) == [secret, secret]


def test_one_share_too_few_says_nothing() -> None:
    counts = np.zeros(256)
    for seed in range(40):
        shares = shamir.split(bytes(64), 5, 3, SeededEntropy(seed))
        (guess,) = shamir.combine_all([[0, 4]], [shares[0], shares[4]])
        counts += np.bincount(np.frombuffer(guess + shares[1], np.uint8), minlength=256)
    expected = counts.sum() / 256
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert 165 < chi2 < 360  # 255 degrees of freedom: mean 255, five standard deviations


def test_products_are_fips_197() -> None:
    assert shamir.PRODUCT[0x57, 0x83] == 0xC1
    assert shamir.PRODUCT[0x57, 0x13] == 0xFE
    assert not shamir.PRODUCT[0].any()


@pytest.mark.parametrize(("n", "t"), [(3, 0), (3, 4), (256, 2), (0, 0)])
def test_splits_that_can_not_be_made(n: int, t: int) -> None:
    with pytest.raises(LocalProtocolError):
        shamir.split(b"s", n, t, SeededEntropy(1))


@pytest.mark.parametrize("positions", [[0, 0], [255], [-1]])
def test_positions_that_can_not_be_combined(positions: list[int]) -> None:
    with pytest.raises(LocalProtocolError):
        shamir.lagrange([positions])


@given(st.integers(0, 300), st.sampled_from([*range(4, 33)]), st.integers(0, 2**32))
def test_packing_comes_back(length: int, bits: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**32, length, dtype=np.uint32)
    data = packing.pack(values, bits)
    assert len(data) == packing.packed_size(length, bits)
    assert (packing.unpack(data, length, bits) == ring.reduced(values, bits)).all()


def test_packing_refuses_other_sizes_and_dirty_fill_bits() -> None:
    with pytest.raises(CodecError, match="take 3 bytes"):
        packing.unpack(b"1234", 2, 12)
    for bits, length in ((12, 1), (20, 3), (5, 1)):
        data = bytearray(packing.pack(np.zeros(length, np.uint32), bits))
        data[-1] |= 0x80
        with pytest.raises(CodecError, match="fill bits"):
            packing.unpack(bytes(data), length, bits)


@given(st.integers(1, 32), st.integers(0, 100))
def test_a_mask_goes_away_again(bits: int, length: int) -> None:
    vector = np.arange(length, dtype=np.uint32)
    masked = vector.copy()
    ring.add_masks(masked, [(b"s" * 32, False)], bits)
    ring.add_masks(masked, [(b"s" * 32, True)], bits)
    assert (ring.reduced(masked, bits) == ring.reduced(vector, bits)).all()


def test_masks_of_different_widths_come_from_one_stream() -> None:
    assert ring.mask(b"s" * 32, 4, 16).tobytes() == ring.mask(b"s" * 32, 2, 24).tobytes()


def test_both_ends_derive_the_same_key_and_each_direction_another() -> None:
    one, other = keys.new_pair(SeededEntropy(1)), keys.new_pair(SeededEntropy(2))
    context = b"c" * 32

    def key(pair: keys.KeyPair, public: bytes, sender: str, recipient: str, label: str = "share") -> bytes:
        return keys.direction_key(pair, public, label=label, context=context, sender=sender, recipient=recipient)

    there = key(one, other.public, "a", "b")
    assert there == key(other, one.public, "a", "b")
    assert len({there, key(one, other.public, "b", "a"), key(one, other.public, "a", "b", "unmask")}) == 3
    assert keys.pair_seed(one, other.public, context=context, one="a", other="b") == keys.pair_seed(
        other, one.public, context=context, one="b", other="a"
    )
    assert keys.unlock(there, keys.lock(there, b"data"), "x") == b"data"
    with pytest.raises(Refusal, match="BadSeal"):
        keys.unlock(there, keys.lock(there, b"data")[:-1] + b"?", "a share")
    with pytest.raises(Refusal, match="WeakKey"):
        one.shared(bytes(32))
    assert one.secret.hex() not in repr(one)
