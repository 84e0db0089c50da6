"""Each stage of the aggregator in the secure sum: what it takes counts once, all else is a refusal by name."""

import dataclasses

import numpy as np
import pytest

from accord.secagg import server, unmasked
from accord.wire.secure_sum import Consistency, Masked, Unmask
from tests.secagg.driven_cohort import BITS, LENGTH, SEAL, Fleet
from tests.secagg.stage_tables import outcome, rows

# Three of four have been added, which is enough; the last one is added, again, changed, or for somebody else.
AGGREGATOR = """
                Sharing         Collecting      Confirming      Unmasking       Collecting/off  Confirming/off
add             added           added           added           added           added           added
add-again       added           added           added           added           added           added
add-changed     SharesChanged   MaskedBefore    OtherSurvivors  AnsweredBefore  MaskedBefore    added
add-forged      -               -               ForgedSignature -               -               -
add-stranger    NotAMember      NotAMember      NotAMember      NotAMember      NotAMember      NotASurvivor
close           Collecting      Unmasking       Unmasking       sum             Confirming      sum
close-early     TooFewShares    TooFewVectors   TooFewConfirmations TooFewAnswers   TooFewVectors   TooFewAnswers
"""


class Aggregator:
    """The aggregator's stage with some of four devices added, and what the others would send."""

    def __init__(self, stage: str) -> None:
        fleet = self.fleet = Fleet(4)
        self.off = stage.endswith("/off")
        self.kind = stage.partition("/")[0]
        self.stage: object
        if self.kind == "Sharing":
            self.stage = server.Sharing(fleet.cohort, 3)
            self.messages = [(s.message,) for s in fleet.share(4)]
            self.changed = (dataclasses.replace(self.messages[0][0], commitment=bytes(32)),)
        elif self.kind == "Collecting":
            self.vectors(fleet)
        elif self.off:
            collecting = unmasked.Collecting(tuple(d.device for d in fleet.joining), 3)
            for one, vector in zip(fleet.joining, fleet.vectors, strict=True):
                collecting.add(one.device, vector)
            self.stage, _ = collecting.close()
            self.messages, self.changed = [()] * 4, ()
        elif self.kind == "Confirming":
            self.stage, _, found = Fleet(4, "strict").confirm()
            self.messages = [sent for _, sent in found]
            self.changed = (Consistency(survivors=b"\x07"), bytes(64))
        else:
            self.stage, survivors, waiting = fleet.unmask()
            self.messages = [(u.survivors(survivors, SEAL.public)[1], SEAL) for u in waiting]
            self.changed = (Unmask(sealed=bytes(80)), SEAL)

    def vectors(self, fleet: Fleet) -> None:
        zeros = np.zeros(LENGTH, np.uint32)
        if self.off:
            self.stage = unmasked.Collecting(tuple(d.device for d in fleet.joining), 3)
            self.messages, self.changed = [(v,) for v in fleet.vectors], (zeros,)
            return
        self.stage, masking = fleet.mask()
        found = [m.mask(v, BITS) for m, v in zip(masking, fleet.vectors, strict=True)]
        self.messages = [(Masked(dealers=d, vector=v.tobytes()), v) for _, v, d in found]
        self.changed = (Masked(dealers=b"\x0f", vector=zeros.tobytes()), zeros)

    def add(self, *places: int) -> None:
        for place in places:
            self.stage.add(f"dev-00{place}", *self.messages[place])

    def close(self) -> object:
        summing = self.kind == "Unmasking" or isinstance(self.stage, unmasked.Confirming)
        return self.stage.close(BITS) if summing else self.stage.close()


@pytest.mark.parametrize(("stage", "name", "cell"), rows(AGGREGATOR))
def test_the_aggregator_at_every_stage(stage: str, name: str, cell: str) -> None:
    one = Aggregator(stage)
    if name == "close-early":
        one.add(0, 1)
        assert outcome(one.close) == cell
        return
    one.add(0, 1, 2)
    assert not one.stage.complete
    match name:
        case "add":
            assert outcome(lambda: one.add(3)) == cell
            assert one.stage.complete
        case "add-again":
            assert outcome(lambda: one.add(0)) == cell
        case "add-changed":
            assert outcome(lambda: one.stage.add("dev-000", *one.changed)) == cell
        case "add-forged":
            if cell != "-":
                assert outcome(lambda: one.stage.add("dev-003", one.messages[3][0], one.messages[0][1])) == cell
        case "add-stranger":
            assert outcome(lambda: one.stage.add("dev-900", *one.messages[3])) == cell
        case "close":
            assert outcome(one.close) == cell
            return
    assert one.stage.complete == (name == "add"), "what was refused or doubled is not counted"
    one.add(3)
    assert one.stage.complete
    assert outcome(one.close) in {"Collecting", "Unmasking", "Confirming", "sum"}


def test_as_many_confirmations_are_enough_as_answers_with_masks() -> None:
    """Three devices under a floor of three: with masks two answers open the sum, and so do two confirmations."""
    fleet = Fleet(3)
    unmasking, survivors, waiting = fleet.unmask()
    plain = unmasked.Collecting(tuple(d.device for d in fleet.joining), 3)
    for one, vector in zip(fleet.joining, fleet.vectors, strict=True):
        plain.add(one.device, vector)
    confirming, _ = plain.close()
    for one, last in list(zip(fleet.joining, waiting, strict=True))[:2]:
        unmasking.add(one.device, last.survivors(survivors, SEAL.public)[1], SEAL)
        confirming.add(one.device)
    assert (unmasking.close(BITS) == confirming.close(BITS)).all()
