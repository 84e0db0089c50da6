"""The split view: an aggregator with one device of its own shows two groups two survivor sets, to open one vector.

In profile `standard` it succeeds, which is why it says so of itself; in profile `strict` the same script gets nothing.
"""

import dataclasses

import nacl.bindings
import numpy as np
import pytest

from accord.errors import Refusal
from accord.secagg import client, keys, ring, shamir
from accord.secagg.commitments import SECRET
from accord.wire.secure_sum import Consistency, Quorum, Survivors, Unmask
from tests.secagg.driven_cohort import BITS, SEAL, Fleet, answer_key

VICTIM, FRIENDS, OTHERS, CORRUPT = 0, (0, 1), (2, 3), 4
"""Of five devices; the victim itself answers only for sets that it is in."""
EVERYBODY, WITHOUT = Survivors(survivors=b"\x1f"), Survivors(survivors=b"\x1e")


class Attack:
    """Five devices whose vectors have all arrived, and what the corrupt one tells the aggregator."""

    def __init__(self, profile: str) -> None:
        self.fleet = Fleet(5, profile)
        self.cohort = self.fleet.cohort
        _, masking = self.fleet.mask()
        self.held = masking[CORRUPT]._held  # it gives both halves of whatever it was dealt
        self.waiting: list[client.Unmasking] = []
        self.vectors: list[ring.Ring] = []
        for stage, vector in zip(masking, self.fleet.vectors, strict=True):
            following, masked, _ = stage.mask(vector, BITS)
            self.waiting.append(following)
            self.vectors.append(masked)

    def share(self, place: int, answer: Unmask) -> bytes:
        """Open an answer and return the victim's half in it."""
        key = answer_key(self.cohort, place)
        return keys.unlock(key, answer.sealed, "an answer")[VICTIM * SECRET : (VICTIM + 1) * SECRET]

    def opened(self, shares: dict[int, bytes]) -> bytes:
        return shamir.combine_all([list(shares)], list(shares.values()))[0]

    def unmasked(self, self_secret: bytes, mask_secret: bytes) -> ring.Ring:
        """Take every mask off the victim's vector."""
        pair, one = keys.KeyPair(mask_secret), self.cohort.devices[VICTIM]
        seeds = [(keys.self_seed(self_secret, self.cohort.context), True)]
        for place, other in enumerate(self.cohort.devices):
            if place != VICTIM:
                public = self.cohort.mask_keys[place]
                seed = keys.pair_seed(pair, public, context=self.cohort.context, one=one, other=other)
                seeds.append((seed, other > one))
        vector = self.vectors[VICTIM].copy()
        ring.add_masks(vector, seeds, BITS)
        return ring.reduced(vector, BITS)


def test_in_profile_standard_one_corrupt_device_of_five_is_enough() -> None:
    attack = Attack("standard")
    assert attack.cohort.threshold == 3
    alive = {p: attack.share(p, attack.waiting[p].survivors(EVERYBODY, SEAL.public)[1]) for p in FRIENDS}
    dead = {p: attack.share(p, attack.waiting[p].survivors(WITHOUT, SEAL.public)[1]) for p in OTHERS}
    whole = attack.held[VICTIM]
    self_secret = attack.opened({**alive, CORRUPT: whole[:SECRET]})
    mask_secret = attack.opened({**dead, CORRUPT: whole[SECRET:]})
    assert nacl.bindings.crypto_scalarmult_base(mask_secret) == attack.cohort.mask_keys[VICTIM]
    assert (attack.unmasked(self_secret, mask_secret) == attack.fleet.vectors[VICTIM]).all(), "the victim's own vector"


def test_in_profile_strict_nobody_answers_either_set() -> None:
    """Each set has three signatures, the corrupt device's among them, and four are needed; nothing makes up for one."""
    attack = Attack("strict")
    assert attack.cohort.threshold == 4
    for group, told in ((FRIENDS, EVERYBODY), (OTHERS, WITHOUT)):
        confirmed = {p: attack.waiting[p].confirm(told) for p in group}
        signed = {p: attack.fleet.signature(p, message) for p, (_, message) in confirmed.items()}
        signed[CORRUPT] = attack.fleet.signature(CORRUPT, Consistency(survivors=told.survivors))
        missing = next(p for p in (1, 2, 3) if p not in signed)
        tried = (
            ("TooFewSignatures", signed),
            ("ForgedSignature", {**signed, missing: signed[CORRUPT]}),
            ("ForgedSignature", {**signed, missing: bytes(64)}),
        )
        for at, (stage, _) in enumerate(confirmed.values()):
            reason, signatures = tried[at + 1 if told is WITHOUT else at]
            quorum = Quorum(
                survivors=told.survivors,
                signers=attack.cohort.bitmap(signatures),
                signatures=tuple(signatures[p] for p in sorted(signatures)),
            )
            with pytest.raises(Refusal, match=reason):
                stage.quorum(quorum, SEAL.public)


def test_a_signature_on_the_one_set_is_none_on_the_other() -> None:
    """Honest devices signed the whole set; their signatures under another bitmap convince nobody who signed that."""
    attack = Attack("strict")
    victim, _ = attack.waiting[VICTIM].confirm(EVERYBODY)
    other = Consistency(survivors=WITHOUT.survivors)
    signatures = tuple(attack.fleet.signature(p, other) for p in (1, 2, 3, 4))
    quorum = Quorum(survivors=EVERYBODY.survivors, signers=WITHOUT.survivors, signatures=signatures)
    with pytest.raises(Refusal, match="ForgedSignature"):
        victim.quorum(quorum, SEAL.public)
    friend, _ = attack.waiting[1].confirm(EVERYBODY)
    with pytest.raises(Refusal, match="OtherSurvivors"):
        friend.quorum(dataclasses.replace(quorum, survivors=WITHOUT.survivors), SEAL.public)


def test_a_device_that_signed_one_set_signs_no_other() -> None:
    attack = Attack("strict")
    attack.waiting[1].confirm(EVERYBODY)
    with pytest.raises(Refusal, match="SurvivorsChanged"):
        attack.waiting[1].confirm(WITHOUT)
    with pytest.raises(Refusal, match="CalledDead"):
        attack.waiting[VICTIM].confirm(WITHOUT)


def test_with_an_honest_aggregator_the_same_five_give_their_sum() -> None:
    confirming, _, found = Fleet(5, "strict").confirm()
    fleet = Fleet(5, "strict")
    for joining, (_, (message, signature)) in zip(fleet.joining, found, strict=True):
        for _ in range(2):  # QoS 1 may deliver twice
            confirming.add(joining.device, message, signature)
    unmasking, quorum = confirming.close()
    for joining, (stage, _) in zip(fleet.joining, found, strict=True):
        unmasking.add(joining.device, stage.quorum(quorum, SEAL.public)[1], SEAL)
    assert (unmasking.close(BITS) == np.sum(fleet.vectors, axis=0) % 2**BITS).all()
