"""Each stage of a device in the secure sum: what it takes gives the next stage, all else is a refusal by name."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from accord.errors import LocalProtocolError
from accord.secagg import answering, client, server
from accord.secagg.cohort import new_roster
from accord.wire.secure_sum import Consistency, Result, Roster, Shares, Survivors
from tests.secagg.driven_cohort import AUTHORITY, BITS, CONTEXT, LENGTH, SEAL, Fleet, device, member
from tests.secagg.stage_tables import outcome, rows

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
BINDS_NOBODY = {
    "ForgedJoin",
    "CalledDead",
    "OtherSurvivors",
    "TooFewSignatures",
    "ForgedSignature",
    "WrongShape",
    "BadBitmap",
}
"""Refusals by what everybody knows: the stage takes the true message after them. For BadSeal a secret was used."""


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
    """A call has its cell's outcome; a lie that binds nobody costs nothing, a left stage gives nothing again."""
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
    if cell in BINDS_NOBODY:
        assert outcome(call) == cell
        following = next(
            to for of, called, to in rows(DEVICE) + rows(STRICT) if (of, called) == (stage, method) and to != "-"
        )
        assert outcome(one.call(at, method)) == following
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
