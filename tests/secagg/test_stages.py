"""Each stage of the secure sum, in both roles: what it takes gives the next stage, all else is a refusal by name."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from accord.errors import Aborted, LocalProtocolError, Refusal
from accord.secagg import answering, client, server, unmasked
from accord.secagg.cohort import new_roster
from accord.wire.secure_sum import Consistency, Masked, Result, Roster, Shares, Survivors, Unmask
from tests.secagg.test_transcript import AUTHORITY, BITS, CONTEXT, LENGTH, SEAL, Fleet, device, member

# A cell is the stage that the call gives, the refusal, or "-" where a stage has no such call: nothing is out of order
# because nothing else can be asked of it. An old message is another attempt's, of the same devices.
DEVICE = """
                Joining        Sharing        Masking       Unmasking       Answered
roster          Sharing        -              -             -               -
roster-again    RosterChanged  -              -             -               -
roster-old      ForgedJoin     -              -             -               -
shares          -              Masking        -             -               -
shares-again    -              SharesChanged  -             -               -
shares-old      -              BadSeal        -             -               -
mask            -              -              Unmasking     -               -
mask-again      -              -              MaskedBefore  -               -
masked          -              -              Unmasking     -               -
masked-again    -              -              MaskedBefore  -               -
survivors       -              -              -             Answered        -
survivors-again -              -              -             AnsweredBefore  -
survivors-old   -              -              -             CalledDead      -
result          -              -              -             -               True
result-again    -              -              -             -               AnsweredBefore
result-aborted  -              -              -             -               False
result-old      -              -              -             -               ResultContradicts
"""
# The same four in profile `strict`: a survivor set is signed, and answered for once three have signed it. An old quorum
# is one for another survivor set.
STRICT = """
                Unmasking         Confirmed       Answered
confirm         Confirmed         -               -
confirm-again   SurvivorsChanged  -               -
confirm-old     CalledDead        -               -
quorum          -                 Answered        -
quorum-again    -                 AnsweredBefore  -
quorum-old      -                 OtherSurvivors  -
quorum-few      -                 TooFewSignatures -
quorum-forged   -                 ForgedSignature -
quorum-foreign  -                 ForgedSignature -
quorum-swapped  -                 ForgedSignature -
quorum-padded   -                 WrongShape      -
quorum-cut      -                 WrongShape      -
quorum-behind   -                 BadBitmap       -
result          -                 -               True
result-old      -                 -               ResultContradicts
"""
# Three of four have been added, which is enough; the last one is added, again, changed, or for somebody else.
AGGREGATOR = """
                Sharing         Collecting      Confirming      Unmasking       Collecting/off  Confirming/off
add             added           added           added           added           added           added
add-again       added           added           added           added           added           added
add-changed     SharesChanged   MaskedBefore    OtherSurvivors  AnsweredBefore  MaskedBefore    added
add-stranger    NotAMember      NotAMember      NotAMember      NotAMember      NotAMember      NotASurvivor
close           Collecting      Unmasking       Unmasking       sum             Confirming      sum
close-early     TooFewShares    TooFewVectors   TooFewConfirmations TooFewAnswers   TooFewVectors   TooFewAnswers
"""


def rows(table: str) -> list[tuple[str, str, str]]:
    head, *lines = [line.split() for line in table.strip().splitlines()]
    return [(stage, name, cell) for name, *cells in lines for stage, cell in zip(head, cells, strict=True)]


def outcome(call: Callable[[], object]) -> str:
    try:
        found = call()
    except (Refusal, Aborted) as error:
        return error.reason
    found = found[0] if isinstance(found, tuple) else found
    if found is None:
        return "added"
    return "sum" if isinstance(found, np.ndarray) else str(found) if isinstance(found, bool) else type(found).__name__


def attempt(context: bytes) -> tuple[Roster, Shares]:
    """Return what the same four devices would hear in the attempt of this context: its roster, and dev-000's shares."""
    devices = [device(i, context) for i in range(4)]
    roster = new_roster("c-1", "standard", [member(d) for d in devices])
    sharing = [d.roster(roster, AUTHORITY, profile="standard", floor=3, cap=100) for d in devices]
    stage = server.Sharing(sharing[0].cohort, 3)
    for one, shared in zip(devices, sharing, strict=True):
        stage.add(one.device, shared.message)
    return roster, stage.close()[1]["dev-000"]


class Device:
    """dev-000 of four, at any stage, with the messages of its attempt and of another one."""

    def __init__(self) -> None:
        self.now, self.old = attempt(CONTEXT), attempt(b"2" * 32)

    def at(self, stage: str) -> object:
        fleet = Fleet(4)
        match stage:
            case "Joining":
                return fleet.joining[0]
            case "Sharing":
                return fleet.share(1)[0]
            case "Masking":
                return fleet.mask()[1][0]
            case "Unmasking":
                return fleet.unmask()[2][0]
        return fleet.unmask()[2][0].survivors(Survivors(survivors=b"\x0f"), SEAL.public)[0]

    def call(self, stage: object, name: str) -> Callable[[], object]:
        method, _, how = name.partition("-")
        roster, shares = self.old if how == "old" else self.now
        closed = Result(status="closed", reason="", included=True, survivors=b"\x0f", transcript=bytes(32))
        match method:
            case "roster":
                return lambda: stage.roster(roster, AUTHORITY, profile="standard", floor=3, cap=100)
            case "shares":
                return lambda: stage.shares(shares)
            case "mask":
                return lambda: stage.mask(np.zeros(LENGTH, np.uint32), BITS)
            case "masked":
                return stage.masked
            case "survivors":
                survivors = Survivors(survivors=b"\x0e" if how == "old" else b"\x0f")
                return lambda: stage.survivors(survivors, SEAL.public)
        if how == "old":
            closed = dataclasses.replace(closed, survivors=b"\x07")
        elif how == "aborted":
            closed = dataclasses.replace(closed, status="aborted", reason="TooFewAnswers", included=False)
        return lambda: stage.result(closed)


@pytest.mark.parametrize(("stage", "name", "cell"), rows(DEVICE))
def test_a_device_at_every_stage(stage: str, name: str, cell: str) -> None:
    answers_once(Device(), stage, name, cell, {"RosterChanged", "SharesChanged", "MaskedBefore", "AnsweredBefore"})


def answers_once(one: "Device | Strict", stage: str, name: str, cell: str, spent: set[str]) -> None:
    """A call has its cell's outcome, and a stage that was left, by a step or by a lie, gives no secret again."""
    at = one.at(stage)
    assert type(at).__name__ == stage
    method, _, how = name.partition("-")
    if cell == "-":
        assert not hasattr(at, method)
        return
    call = one.call(at, name)
    if how == "again":
        call()
    assert outcome(call) == cell
    assert outcome(one.call(at, method)) in spent


class Strict:
    """dev-000 of four in profile `strict`, at any stage that profile `standard` does not have."""

    def __init__(self) -> None:
        self.confirming, self.survivors, self.found = Fleet(4, "strict").confirm()
        fleet = self.fleet = Fleet(4, "strict")
        for place, (_, (message, signature)) in enumerate(self.found):
            self.confirming.add(fleet.joining[place].device, message, signature)
        self.honest = self.confirming.close()[1]

    def at(self, stage: str) -> object:
        match stage:
            case "Unmasking":
                return self.fleet.unmask()[2][0]
            case "Confirmed":
                return self.found[0][0]
        return self.found[0][0].quorum(self.honest, SEAL.public)[0]

    def call(self, stage: object, name: str) -> Callable[[], object]:
        method, _, how = name.partition("-")
        if method == "confirm":
            told = Survivors(survivors=b"\x0e") if how == "old" else self.survivors
            return lambda: stage.confirm(told)
        if method == "quorum":
            return lambda: stage.quorum(dataclasses.replace(self.honest, **self.changes(how)), SEAL.public)
        closed = Result(status="closed", reason="", included=True, survivors=b"\x0f", transcript=bytes(32))
        return lambda: stage.result(dataclasses.replace(closed, survivors=b"\x07") if how == "old" else closed)

    def changes(self, how: str) -> dict[str, object]:
        first, second, third = self.honest.signatures
        other = self.fleet.signature(0, Consistency(survivors=b"\x0f"), b"2" * 32)
        changes: dict[str, dict[str, object]] = {
            "old": {"survivors": b"\x07"},
            "few": {"signers": b"\x03", "signatures": (first, second)},
            "forged": {"signatures": (first, second, bytes(64))},
            "foreign": {"signatures": (other, second, third)},
            "swapped": {"signatures": (second, first, third)},
            "padded": {"signatures": (first, second, third, third)},
            "cut": {"signatures": (first, second)},
            "behind": {"signers": b"\x17", "signatures": (first, second, third, third)},
        }
        return changes.get(how, {})


@pytest.mark.parametrize(("stage", "name", "cell"), rows(STRICT))
def test_a_device_at_every_stage_of_profile_strict(stage: str, name: str, cell: str) -> None:
    answers_once(Strict(), stage, name, cell, {"SurvivorsChanged", "AnsweredBefore"})


def test_no_device_answers_a_survivor_set_that_no_quorum_has_signed() -> None:
    """Whoever drives the stages can't take the short way by mistake, in either profile."""
    _, survivors, waiting = Fleet(4, "strict").unmask()
    with pytest.raises(LocalProtocolError, match="a quorum is answered"):
        waiting[0].survivors(survivors, SEAL.public)
    _, survivors, waiting = Fleet(4).unmask()
    with pytest.raises(LocalProtocolError, match="no confirmations"):
        waiting[0].confirm(survivors)


def test_the_stages_of_a_device_have_one_way_out_each() -> None:
    ways = {
        name: [m for m in vars(stage) if not m.startswith("_") and callable(vars(stage)[m])]
        for module in (client, answering)
        for name, stage in vars(module).items()
        if isinstance(stage, type) and stage.__module__ == module.__name__ and not name.startswith("_")
    }
    assert ways == {
        "Joining": ["roster"],
        "Sharing": ["shares"],
        "Masking": ["mask", "masked"],
        "Unmasking": ["survivors", "confirm"],  # in profile standard, and in profile strict
        "Confirmed": ["quorum"],
        "Answered": ["result"],
    }


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
