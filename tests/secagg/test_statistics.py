"""What goes over the wire says nothing: masked zeros and too few shares are uniform, and the primitives are the RFCs'.

Everything is drawn from seeds: a right implementation passes always; the bounds are six standard deviations wide.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import pytest

from accord import prg
from accord.secagg import keys, ring, shamir
from accord.wire.secure_sum import Masked
from tests.secagg.driven_cohort import SEAL, Fleet

HEX = bytes.fromhex
SPREAD = 6 * (2 * 255) ** 0.5
"""Six standard deviations of chi-square with 255 degrees of freedom, whose mean is 255."""


def assert_uniform(octets: npt.NDArray[np.unsignedinteger]) -> None:
    counts = np.bincount(octets.astype(np.int64), minlength=256)
    expected = octets.size / 256
    assert expected >= 16
    assert abs(((counts - expected) ** 2 / expected).sum() - 255) < SPREAD


@pytest.mark.parametrize("bits", [8, 16, 20, 32])
def test_masked_zeros_are_uniform_alone_and_together_until_all_are_there(bits: int) -> None:
    fleet = Fleet(5)
    collecting, masking = fleet.mask()
    waiting, sent = [], []
    for one, stage in zip(fleet.joining, masking, strict=True):
        following, masked, dealers = stage.mask(np.zeros(20_000, np.uint32), bits)
        collecting.add(one.device, Masked(dealers=dealers, vector=masked.tobytes()), masked)
        waiting.append(following)
        sent.append(masked)
    for few in (1, 2, 4, 5):  # even all of them have their own masks left
        for some in combinations(sent, few):
            together = sum(some, start=np.zeros(20_000, np.uint32))
            assert_uniform(together & np.uint32(255))
            assert_uniform(together >> np.uint32(bits - 8) & np.uint32(255))
    unmasking, survivors = collecting.close()
    for one, stage_two in zip(fleet.joining, waiting, strict=True):
        unmasking.add(one.device, stage_two.survivors(survivors, SEAL.public)[1], SEAL)
    assert not unmasking.close(bits).any()


def test_one_share_too_few_has_every_value_equally_often_whatever_the_secret() -> None:
    every = np.arange(65_536)
    rows = np.stack([every & 255, every >> 8]).astype(np.uint8)  # each pair of coefficients once
    for secret in (b"\0", b"\x01", b"\xff"):
        shares = shamir.split(secret * every.size, 5, 3, lambda _size: rows.tobytes())
        parts = [np.frombuffer(share, np.uint8).astype(np.int64) for share in shares]
        for one, other in combinations(parts, 2):
            assert (np.bincount(one << 8 | other, minlength=every.size) == 1).all()
        assert set(shamir.combine_all([[0, 2, 4]], [shares[at] for at in (0, 2, 4)])[0]) == set(secret)


def test_the_keystream_is_rfc_8439_section_2_4_2_and_goes_on_over_its_pieces() -> None:
    key, nonce = bytes(range(32)), HEX("000000000000004a00000000")
    start = "224f51f3401bd9e12fde276fb8631ded8c131f823d2c06e27e4fcaec9ef3cf788a3b0aa372600a92b57974cded2b9334794c"
    assert prg.keystream(key, nonce, 50).hex() == start
    size = 3 * 65_536 + 5
    found = {at: bytearray() for at in range(2)}
    for at, begins, piece in prg.keystream_pieces([key, bytes(32)], nonce, size):
        assert begins == len(found[at])
        found[at] += piece
    assert [bytes(found[at]) for at in found] == [prg.keystream_pynacl(k, nonce, size) for k in (key, bytes(32))]


@pytest.mark.parametrize("have", [True, False])
def test_the_keystream_begins_where_it_is_asked_to(have: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prg, "_HAVE_CRYPTOGRAPHY", have and prg._HAVE_CRYPTOGRAPHY)
    whole = prg.keystream(bytes(32), bytes(12), 70_000)
    rest = b"".join(bytes(piece) for _, _, piece in prg.keystream_pieces([bytes(32)], bytes(12), 70_000 - 640, 640))
    assert rest == whole[640:]


@pytest.mark.parametrize("bits", [13, 32])
def test_a_pool_of_workers_takes_off_the_same_masks(bits: int) -> None:
    """Each worker has a stretch of coordinates; what they return stands one behind the other."""
    seeds = [(bytes([number]) * 32, bool(number % 3)) for number in range(1, 6)]
    size = 2 * ring.STRETCH + 7
    alone = sum((-1 if away else 1) * ring.mask(seed, size, bits).astype(np.int64) for seed, away in seeds)
    with ThreadPoolExecutor(3) as pool:
        shared = np.zeros(size, np.uint32)
        ring.add_masks(shared, seeds, bits, pool.map)
    assert (ring.reduced(shared, bits) == alone % 2**bits).all()
    by_one = np.zeros(size, np.uint32)
    ring.add_masks(by_one, seeds, bits)
    assert (by_one == shared).all()


def test_agreement_is_rfc_7748_section_6_1() -> None:
    alice = keys.KeyPair(HEX("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = keys.KeyPair(HEX("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    both = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert alice.shared(bob.public).hex() == bob.shared(alice.public).hex() == both


def test_agreement_is_rfc_7748_section_5_2_after_a_thousand_times() -> None:
    k = u = b"\x09" + bytes(31)
    for _ in range(1_000):
        k, u = keys.KeyPair(k).shared(u), k
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def test_products_are_those_of_long_multiplication() -> None:
    def times(a: int, b: int) -> int:
        found = 0
        for at in range(8):
            found ^= (a << at) * (b >> at & 1)
        for at in range(14, 7, -1):
            found ^= (0x11B << at - 8) * (found >> at & 1)
        return found

    assert all(shamir.PRODUCT[a, b] == times(a, b) for a, b in product(range(256), repeat=2))


@pytest.mark.parametrize("bits", [16, 20])
def test_masks_go_on_over_the_pieces_that_they_are_added_in(bits: int) -> None:
    length = 150_001
    seeds = [(bytes([at]) * 32, at % 2 == 1) for at in range(70)]  # more than are open at a time
    vector = np.zeros(length, np.uint32)
    ring.add_masks(vector, seeds, bits)
    expected = np.zeros(length, np.uint32)
    for seed, negative in seeds:
        one = ring.mask(seed, length, bits).astype(np.uint32)
        expected += np.uint32(0) - one if negative else one
    assert (ring.reduced(vector, bits) == ring.reduced(expected, bits)).all()
