"""Whoever has all that went over the broker in a round recovers no sum; with the aggregator's key it does."""

import json
from itertools import pairwise

import generate
import nacl.bindings
import numpy as np
import pytest
from recorded_fleet import NAMES, ROUND
from taped import MASKED

from accord import prg
from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.plan import Plan
from accord.secagg import keys, server
from accord.secagg.cohort import assembled, first_context
from accord.update import packing
from accord.wire.envelope import Envelope
from accord.wire.messages import Offer, opened
from accord.wire.secure_sum import Join, Masked, Roster, Share, Unmask

VECTORS = json.loads((generate.FOLDER / "cohort.json").read_text())["vectors"]
LETTERS = [Envelope.decode(bytes.fromhex(entry["data"])) for entry in MASKED.entries if "data" in entry]
PLAN = Plan.decode(opened(next(one for one in LETTERS if one.tag == "plan/7"), Offer).plan)
SIZE = len(VECTORS["opened_sum"])


def of(tag: str) -> dict[str, Envelope]:
    return {letter.sender: letter for letter in LETTERS if letter.tag == tag}


class Broker:
    """Follows a round from its letters, as the aggregator does, with no key of anybody."""

    def __init__(self) -> None:
        roster = opened(of("roster/4")["aggregator"], Roster)
        bundle, params = PLAN.bundle_digest, PLAN.params_digest
        self.cohort = assembled(roster, first_context(PLAN.encode(), bundle, params))
        sharing = server.Sharing(self.cohort, 3)
        for name, letter in of("share/2").items():
            sharing.add(name, opened(letter, Share))
        collecting, _ = sharing.close()
        for name, letter in of("masked/1").items():
            message = opened(letter, Masked)
            collecting.add(name, message, packing.unpack(message.vector, SIZE, PLAN.fixed.modulus_bits))
        self.unmasking, _ = collecting.close()

    def sum(self, pair: keys.KeyPair) -> list[int]:
        for name, letter in of("unmask/1").items():
            self.unmasking.add(name, opened(letter, Unmask), pair)
        return self.unmasking.close(PLAN.fixed.modulus_bits).tolist()


def test_the_aggregators_seal_key_opens_the_transcript() -> None:
    assert Broker().sum(keys.new_pair(SeededEntropy(ROUND).child("seal", 1))) == VECTORS["opened_sum"]


@pytest.mark.parametrize("secret", [b"\x00" * 32, b"\x01" * 32, PLAN.seal_key])
def test_another_key_does_not(secret: bytes) -> None:
    with pytest.raises(Refusal, match="BadSeal"):
        Broker().sum(keys.KeyPair(secret))


def test_no_secret_of_a_round_stands_anywhere_in_it() -> None:
    """Every 32 bytes in a row of every letter: none is a mask's secret, a seal's, the aggregator's, or half a share."""
    publics = {PLAN.seal_key} | {
        key for letter in of("join/2").values() for key in (letter.payload[3:35], letter.payload[37:69])
    }
    shown = [opened(letter, Share) for letter in of("share/2").values()]
    commitments = {message.commitment for message in shown}
    halves = {half for message in shown for one in message.hashes for half in (one[:16], one[16:])}
    joins = [opened(letter, Join) for letter in of("join/2").values()]
    assert publics == {PLAN.seal_key, *(key for join in joins for key in (join.mask_key, join.seal_key))}
    windows = {
        data[at : at + 32]
        for data in {letter.encode() for letter in LETTERS}
        for at in range(len(data) - 31)
        if any(one != other for one, other in pairwise(data[at : at + 32]))
    }
    assert len(windows) > 5_000
    for window in windows:
        assert nacl.bindings.crypto_scalarmult_base(window) not in publics
        name = prg.digest(window)
        assert name not in commitments
        assert name[:16] not in halves


def test_no_masked_vector_and_no_sum_of_some_shows_a_plain_one() -> None:
    """Sums over any of the devices without what UNMASK holds: no coordinate of the plain sums stands in them."""
    bits = PLAN.fixed.modulus_bits
    masked = {
        name: packing.unpack(opened(letter, Masked).vector, SIZE, bits).astype(np.int64)
        for name, letter in of("masked/1").items()
    }
    plain = {name: np.array(VECTORS["plain_vectors"][name], np.int64) for name in masked}
    for chosen in range(1, 1 << len(NAMES)):
        names = [name for at, name in enumerate(NAMES) if chosen >> at & 1 and name in masked]
        if names:
            seen = sum(masked[name] for name in names) % (1 << bits)
            meant = sum(plain[name] for name in names) % (1 << bits)
            assert (seen == meant).sum() <= 1, "a coordinate that happens to agree is one in 2^20"
