"""A round that has closed, and an attempt that was begun: neither is gone back on, restart or not."""

import dataclasses

import pytest

from accord.wire.check_in import CheckIn
from accord.wire.envelope import Envelope
from accord.wire.messages import Opening, opened
from accord.wire.secure_sum import Join, Result
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev
from edge_sdk.saved import FILES, Joined, Saved, Unsettled
from edge_sdk.session_values import TRANSITIONS, Stage
from edge_sdk.unsettled import SENT
from tests.edge_sdk.restarts import restarted
from tests.edge_sdk.scene import ME, Scene


def test_no_other_attempt_of_a_round_that_has_closed_is_taken_not_even_after_a_restart() -> None:
    """Two sums of one round that differ by a device would tell its update."""
    scene = Scene("standard")
    opening = scene.mail[0]
    assert isinstance(opening, dev.Arrived)
    scene.to_the_end()
    assert scene.of(dev.Charge)[-1].ledger == scene.session.ledger, "the closed round is on the disk"
    letter = Envelope.decode(opening.data)
    retry = dataclasses.replace(opened(letter, Opening), attempt=2)
    event = dev.Arrived(data=scene.coordinator.desk.sealed(retry, "j"))
    for session in (scene.session, restarted(scene)):
        assert [e.reason for e in session.step(event) if isinstance(e, dev.Refused)] == ["RoundClosed"]
        assert session.stage is Stage.IDLE
    kept = {e.name: e.data for e in scene.of(dev.Keep)}
    effects = restarted(scene).resume(Saved(joined=Joined.decode(kept["joined"])))
    assert [type(e) for e in effects] == [dev.Forget], "power was lost before the files of the closed round were gone"


def test_a_restart_never_goes_back() -> None:
    """A session born from the ledger of one that charged the attempt does not answer that attempt's opening again."""
    scene = Scene("standard")
    opening = scene.mail[0]
    scene.at(Stage.JOINED)
    again = restarted(scene)
    assert again.step(opening) == ()
    assert again.ledger == scene.session.ledger
    assert again.stage is Stage.IDLE


@pytest.mark.parametrize("profile", ["standard", "off"])
def test_an_attempt_keeps_the_certificate_that_it_was_begun_with(profile: str) -> None:
    """A certificate is renewed in the middle of an attempt: in it the device stays who it was, also after a restart.

    Another JOIN for the same attempt would be taken for that of a copy, and bar the device.
    """
    scene = Scene(profile).at(Stage.CHECKED_IN)
    renewed = dataclasses.replace(scene.session.identity, certificate=b"another one")
    scene.session.take_up(renewed)
    effects = scene.hand_over()
    [kept] = [effect.data for effect in effects if isinstance(effect, dev.Keep)]
    [join] = [effect.data for effect in effects if isinstance(effect, dev.Send)]
    assert opened(Envelope.decode(join), Join).certificate != renewed.certificate
    again = restarted(scene)
    again.take_up(renewed)
    again.resume(Saved(joined=Joined.decode(kept)))
    assert (again.stage, again.last) == (Stage.JOINED, join)
    scene.to_the_end()
    assert len(scene.of(agg.Closed)[-1].included) == 3
    scene.begin()
    while scene.session.stage is not Stage.CHECKED_IN:
        scene.hand_over()
    assert opened(Envelope.decode(scene.letters[-1]), CheckIn).certificate == renewed.certificate, (
        "from the next one on"
    )


LEFT = [stage for stage, row in TRANSITIONS.items() if "round closed" in row]
"""Stages that an attempt is left in where the RESULT of the one before comes late."""


@pytest.mark.parametrize("reached", LEFT)
def test_an_attempt_ends_where_the_result_of_the_one_before_closes_its_round(reached: Stage) -> None:
    """A lie: another attempt of the round was opened, and only then comes the sum of the first. One is enough."""
    scene = Scene("strict")
    opening = scene.mail[0]
    assert isinstance(opening, dev.Arrived)
    scene.at(reached)
    context, sent = b"1" * 32, len(scene.letters)
    scene.session._unsettled.found(Unsettled(opening=opening.data, context=context, survivors=b""))
    result = Result(status="closed", reason="", included=True, survivors=b"\x07", transcript=b"t" * 32)
    told = scene.session.step(dev.Arrived(data=scene.coordinator.desk.sealed(result, ME, context)))
    assert [e.included for e in told if isinstance(e, dev.Finished)] == [True]
    assert [e.reason for e in told if isinstance(e, dev.Refused)] == ["RoundClosed"]
    assert dev.Forget(names=tuple(FILES)) in told
    assert (scene.session.stage, scene.session.last) == (Stage.IDLE, b"")
    asked = [e for e in told if isinstance(e, dev.Send)]
    assert len(asked) == (reached in SENT), "its vector may be in a sum, and what became of it is asked"
    scene.to_the_end()
    assert len(scene.letters) == sent, "nothing of it goes on"


def test_a_false_abort_and_the_result_after_all_give_one_sum() -> None:
    scene = Scene("standard")
    [opening] = scene.mail
    assert isinstance(opening, dev.Arrived)
    scene.at(Stage.ANSWERED)
    [result] = scene.mail
    retry = dataclasses.replace(opened(Envelope.decode(opening.data), Opening), attempt=2)
    scene.session.step(dev.Arrived(data=scene.coordinator.desk.sealed(retry, "j")))
    assert scene.session.stage is Stage.FETCHING
    assert [e.reason for e in scene.session.step(result) if isinstance(e, dev.Refused)] == ["RoundClosed"]
    assert scene.session.stage is Stage.IDLE
