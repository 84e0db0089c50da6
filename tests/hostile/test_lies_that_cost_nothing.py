"""A message that is refused for what everybody can see binds nobody: the true one is taken after it, as it would be."""

from collections.abc import Sequence

import pytest
from recorded_fleet import Device
from taped import MASKED, STRICT, Tape, again

from accord.wire.envelope import Envelope
from accord.wire.secure_sum import Quorum, Shares

ME = "dev-00"
LIES = [
    (MASKED, "roster/4", "WrongRule", {"threshold": 2}),
    (MASKED, "shares/2", "NotADealer", {"dealers": b"\x0e"}),
    (MASKED, "shares/2", "MissingShare", {"sealed": ()}),
    (MASKED, "survivors/1", "CalledDead", {"survivors": b"\x06"}),
    (MASKED, "survivors/1", "SmallCohort", {"survivors": b"\x01"}),
    (STRICT, "survivors/1", "CalledDead", {"survivors": b"\x06"}),
    (STRICT, "quorum/1", "OtherSurvivors", {"survivors": b"\x0f"}),
    (STRICT, "quorum/1", "TooFewSignatures", {"signers": b"\x00", "signatures": ()}),
    (STRICT, "quorum/1", "ForgedSignature", {"signatures": (bytes(64),) * 3}),
]


def before(tape: Tape, place: int) -> Device:
    """Return the device as it is when the letter at a place of a recording comes."""
    device = Device(ME)
    for entry in tape.entries[:place]:
        if entry.get("to") == ME:
            device.feed(bytes.fromhex(entry["data"]))
    return device


def heard(device: Device, letters: Sequence[bytes]) -> list[tuple[list[bytes], list[str]]]:
    return [device.feed(letter) for letter in letters]


@pytest.mark.parametrize(
    ("tape", "tag", "reason", "changes"), LIES, ids=[f"{tape.name}-{tag}-{reason}" for tape, tag, reason, _ in LIES]
)
def test_the_true_message_is_taken_after_a_lie(tape: Tape, tag: str, reason: str, changes: dict[str, object]) -> None:
    place = tape.place(tag, ME)
    truth = tape.letter(place)
    lie = again(truth, **changes)
    honest, told = before(tape, place).feed(truth.encode())
    assert len(honest) == 1
    assert told == []
    device = before(tape, place)
    assert heard(device, [lie, lie]) == [([], [reason])] * 2
    assert device.feed(truth.encode()) == (honest, [])
    sent, refused = device.feed(lie)
    assert sent == [], "whoever has answered answers once"
    assert len(refused) <= 1


def test_a_quorum_is_answered_once_whatever_comes_before_and_behind_it() -> None:
    place = STRICT.place("quorum/1", ME)
    truth, device = STRICT.letter(place), before(STRICT, place)
    forged = again(truth, signatures=(bytes(64),) * 3)
    answers = heard(device, [forged, truth.encode(), forged, truth.encode()])
    assert [refused for _, refused in answers] == [["ForgedSignature"], [], ["OutOfOrder"], ["OutOfOrder"]]
    assert [Envelope.decode(data).tag for sent, _ in answers for data in sent] == ["unmask/1"]


def test_shares_that_do_not_open_end_the_attempt_for_this_device() -> None:
    """Its secrets were used on them: what they say of a second try is told to nobody."""
    place = MASKED.place("shares/2", ME)
    truth, device = MASKED.letter(place), before(MASKED, place)
    forged = again(truth, sealed=tuple(bytes(len(one)) for one in _sealed(truth)))
    assert heard(device, [forged, truth.encode()]) == [([], ["BadSeal"]), ([], ["SharesChanged"])]


def _sealed(letter: Envelope) -> tuple[bytes, ...]:
    return Shares.decode(letter.payload).sealed


def test_the_lies_about_quorums_are_about_this_one() -> None:
    assert len(Quorum.decode(STRICT.letter(STRICT.place("quorum/1", ME)).payload).signatures) == 3
