"""Secure sums with ML-KEM beside X25519: exact or aborted by name, whoever drops out or lies about a pair's secret."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord import cbor, prg
from accord.errors import Aborted, LocalProtocolError, Refusal
from accord.plan import CLASSIC, HYBRID, HYBRID_KEY, STRICT
from accord.secagg import entries, hybrid, kem, keys, pair_secret, sealing, server, unmasked
from accord.secagg.cohort import check_join, new_roster, verified
from accord.secagg.members import member_of
from accord.wire.secure_sum import Join, Share
from tests.secagg.hybrid_cohort import AUTHORITY, BITS, CONTEXT, LENGTH, SEAL, Story, dealt, device, name_of

LOWEST, HIGHEST = 0, 4


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 9), st.floats(0, 0.5), st.integers(0, 2**32), st.sampled_from(["standard", STRICT]))
def test_exact_sum_or_named_abort(n: int, rate: float, seed: int, profile: str) -> None:
    rng = np.random.default_rng(seed)
    dealers, masked, answer = ({i for i in range(n) if rng.random() >= rate} for _ in range(3))
    story = Story(n, profile)
    reason = ""
    try:
        total = story.sum(masked=masked, answer=answer, dealt=dealers)
    except Aborted as abort:
        reason = abort.reason
    else:
        assert (total == story.expected).all()
    lacking = {"TooFewShares", "TooFewVectors", "TooFewConfirmations", "TooFewAnswers"}
    assert not reason or (rate > 0 and reason in lacking)
    assert not story.refused


@pytest.mark.parametrize("gone", [{LOWEST}, {HIGHEST}, {LOWEST, HIGHEST}, {2}])
def test_the_masks_of_a_dropout_come_off_from_either_end_of_its_pairs(gone: set[int]) -> None:
    story = Story(5)
    assert (story.sum(masked=set(range(5)) - gone) == story.expected).all()


def lie(message: Share, index: int, start: int, change: bytes) -> Share:
    """Return the SHARE with some bytes of one entry exclusive-ored."""
    entry = bytearray(message.sealed[index])
    for at, byte in enumerate(change, start):
        entry[at] ^= byte
    return dataclasses.replace(message, sealed=(*message.sealed[:index], bytes(entry), *message.sealed[index + 1 :]))


def wrong_offer(story: Story, liar: int, victim: int) -> Share:
    """Return the SHARE of a device that offers one other a secret which it did not commit to, sealed as it should be.

    The keys are the liar's own: it can seal whatever it likes.
    """
    message, part, cohort = story.messages[liar], story.sharing[liar]._part, story.cohort
    others = [place for place in cohort.holders(liar) if place != liar]
    index = others.index(victim)
    honest = entries.offer_in(message.sealed[index], hybrid=True, upwards=True)
    offer = honest[: kem.CIPHERTEXT] + bytes(32) + honest[-32:]
    share = b"s" * 64
    way = sealing.Direction(label="share", context=cohort.context, sender=name_of(liar), recipient=name_of(victim))
    entry = offer + sealing.sealed(part.seal, cohort.seal_keys[victim], share, way, before=offer)
    return dataclasses.replace(message, sealed=(*message.sealed[:index], entry, *message.sealed[index + 1 :]))


def test_a_dealer_that_offers_another_secret_is_refused_and_named() -> None:
    story = Story(5)
    story.messages[1] = wrong_offer(story, 1, 3)
    with pytest.raises(Aborted, match="WrongDealer: dev-001 offered dev-003") as abort:
        story.sum(masked=set(range(5)))
    assert story.refused == {3: "WrongPairSecret"}
    assert abort.value.device == "dev-001"


def test_a_dealer_whose_victim_is_gone_is_named_before_anything_is_opened() -> None:
    story = Story(5)
    story.messages[1] = wrong_offer(story, 1, 3)
    with pytest.raises(Aborted, match="WrongDealer: dev-001"):
        story.sum(masked={0, 1, 2, 4})


def test_a_dropout_that_committed_to_another_secret_than_its_own_is_named() -> None:
    """Its victim sees an offer that fits its hash; only the opened secret shows that it is another one."""
    story = Story(5)
    part, cohort = story.sharing[0]._part, story.cohort
    way = sealing.Direction(label="share", context=cohort.context, sender="dev-000", recipient="dev-001")
    offer = pair_secret.offer(
        b"another secret, as long as ours!", cohort.mask_keys[1], cohort.context, "dev-000", "dev-001"
    )
    near = [place for place in cohort.holders(0) if place != 0]
    entry = offer + sealing.sealed(part.seal, cohort.seal_keys[1], b"s" * 64, way, before=offer)
    message = story.messages[0]
    story.messages[0] = dataclasses.replace(message, sealed=(entry, *message.sealed[1:]))
    assert near[0] == 1
    with pytest.raises(Aborted, match="WrongDealer: dev-000 offered dev-001"):
        story.sum(masked={1, 2, 3, 4})


@pytest.mark.parametrize("start", [0, kem.CIPHERTEXT, pair_secret.OFFER - 1, pair_secret.OFFER, 2_319])
def test_whatever_the_aggregator_changes_in_an_entry_does_not_open(start: int) -> None:
    story = Story(3)
    stage = server.Sharing(story.cohort, 3)
    for place, message in enumerate(story.messages):
        stage.add(name_of(place), lie(message, 1, start, b"\x01") if place == 0 else message)
    shares = stage.close()[1]
    with pytest.raises(Refusal, match="BadSeal: the share of dev-000"):
        story.sharing[2].shares(shares["dev-002"])


def test_entries_have_the_size_that_their_direction_asks_for() -> None:
    story = Story(3)
    assert [len(entry) for entry in story.messages[1].sealed] == [1_168, 2_320]
    swapped = dataclasses.replace(story.messages[1], sealed=story.messages[1].sealed[::-1])
    with pytest.raises(Refusal, match="WrongShape"):
        server.Sharing(story.cohort, 3).add("dev-001", swapped)
    stage = server.Sharing(story.cohort, 3)
    for place, message in enumerate(story.messages):
        stage.add(name_of(place), message)
    shares = stage.close()[1]["dev-001"]
    with pytest.raises(Refusal, match="WrongShape"):
        story.sharing[1].shares(dataclasses.replace(shares, sealed=shares.sealed[::-1]))


def test_a_share_that_was_written_is_sent_again_and_goes_on_to_the_same_masks() -> None:
    """Encapsulation can't be repeated: what the device needs again stands in the letter, or follows from its seed."""
    first, again, fresh = dealt(3), dealt(3), dealt(3)
    assert first[0].message != again[0].message
    roster = new_roster("c-1", "standard", [member_of(device(i).letter) for i in range(3)])
    resumed = device(0).roster(roster, AUTHORITY, profile="standard", floor=3, cap=100, kept=first[0].message)
    assert resumed.message == first[0].message
    stage = server.Sharing(resumed.cohort, 3)
    for place, one in enumerate((first[0], again[1], again[2])):
        stage.add(name_of(place), one.message)
    shares = stage.close()[1]["dev-000"]
    vector = np.zeros(LENGTH, np.uint32)
    _, before, _ = first[0].shares(shares).mask(vector, BITS)
    _, after, _ = resumed.shares(shares).mask(vector, BITS)
    assert (before == after).all()
    with pytest.raises(LocalProtocolError, match="other shares than those that it wrote"):
        device(0).roster(roster, AUTHORITY, profile="standard", floor=3, cap=100, kept=fresh[1].message)


def test_a_roster_and_a_join_have_the_kind_of_keys_that_the_plan_names() -> None:
    joining = [device(0), device(1), device(2, CLASSIC)]
    roster = new_roster("c-1", "standard", [member_of(d.letter) for d in joining])
    with pytest.raises(Refusal, match="WrongShape: a public key of 32 bytes is none of"):
        verified(roster, CONTEXT, "standard", AUTHORITY, suite=HYBRID)
    with pytest.raises(Refusal, match="WrongShape: a public key of 1216 bytes is none of"):
        verified(roster, CONTEXT, "standard", AUTHORITY)
    one, other = hybrid.pair_of(b"1" * 32, HYBRID), hybrid.pair_of(b"2" * 32, HYBRID)
    good = Join(mask_key=one.public, seal_key=other.public, certificate=b"c")
    check_join(good, set(), SEAL, HYBRID)
    for reason, changes, taken, suite in [
        ("WrongShape", {}, set(), CLASSIC),
        ("WrongShape", {"mask_key": one.public[:32]}, set(), HYBRID),
        ("DuplicateKey", {"mask_key": other.public[:32] + one.public[32:]}, set(), HYBRID),
        ("DuplicateKey", {}, {one.public[32:]}, HYBRID),
        ("WeakKey", {"mask_key": one.public[:32] + b"\xff" * 1_184}, set(), HYBRID),
        ("WeakKey", {"mask_key": bytes(32) + one.public[32:]}, set(), HYBRID),
    ]:
        with pytest.raises(Refusal, match=reason):
            check_join(dataclasses.replace(good, **changes), taken, SEAL, suite)


def test_a_device_encapsulates_to_no_key_that_is_none() -> None:
    with pytest.raises(Refusal, match="WeakKey"):
        kem.encapsulate(b"\xff" * kem.PUBLIC)


def test_both_halves_of_a_key_count_and_neither_tells_the_secret() -> None:
    secret = b"s" * 32
    pair = hybrid.pair_of(secret, HYBRID)
    assert len(pair.public) == HYBRID_KEY
    assert pair.public[:32] != keys.KeyPair(secret).public, "the scalar is derived, or X25519 would tell the secret"
    assert secret.hex() not in repr(pair)
    other = hybrid.pair_of(b"t" * 32, HYBRID)
    way = sealing.Direction(label="share", context=CONTEXT, sender="a", recipient="b")
    sealed = sealing.sealed(pair, other.public, b"data", way)
    assert sealing.opened(other, pair.public, sealed, way, "it") == b"data"
    agreed = other.shared(pair.public)
    x25519_alone = keys.derived(
        agreed, (pair.public, other.public), label="share", context=CONTEXT, sender="a", recipient="b"
    )
    with pytest.raises(Refusal, match="BadSeal"):
        keys.unlock(x25519_alone, sealed[kem.CIPHERTEXT :], "it")
    kem_alone = other.decapsulated(sealed[: kem.CIPHERTEXT])
    bound = (prg.digest(sealed[: kem.CIPHERTEXT]),)
    for wrong in (kem_alone, bytes(32) + kem_alone):
        key = prg.kdf(wrong, cbor.encode(["share", CONTEXT, "a", "b", *sorted((pair.public, other.public)), *bound]))
        with pytest.raises(Refusal, match="BadSeal"):
            keys.unlock(key, sealed[kem.CIPHERTEXT :], "it")
    with pytest.raises(Refusal, match="BadSeal"):
        sealing.opened(other, pair.public, sealed[:100], way, "it")


def test_an_update_without_masks_is_sealed_with_both() -> None:
    pair = hybrid.pair_of(b"s" * 32, HYBRID)
    data = unmasked.sealed_update(pair, SEAL.public, CONTEXT, "dev-000", b"packed")
    assert len(data) == kem.CIPHERTEXT + len(b"packed") + 16
    assert unmasked.opened_update(SEAL, pair.public, CONTEXT, "dev-000", data) == b"packed"


WITHOUT = """
import sys
sys.modules["cryptography.hazmat.primitives.asymmetric.mlkem"] = None
sys.modules["cryptography.hazmat.primitives.asymmetric"] = None
from accord.errors import Refusal
from accord.plan import CLASSIC, HYBRID
from accord.secagg import hybrid, kem
assert not kem.available()
hybrid.pair_of(bytes(32), CLASSIC)
try:
    hybrid.pair_of(bytes(32), HYBRID)
except Refusal as refusal:
    print(refusal)
"""


def test_a_machine_without_it_says_so_and_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("NoPostQuantum: no ML-KEM-768 is installed here: pip install 'cryptography>=50'")
