"""A device that leaves an attempt: what it says, what it forgets, and which attempts it takes afterwards."""

import pytest

from accord.wire.check_in import Withdraw
from accord.wire.envelope import Envelope
from accord.wire.messages import opened
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev
from edge_sdk.saved import FILES, SECRET_FILES, Joined, Saved, Shared
from edge_sdk.session_values import Stage
from tests.edge_sdk.restarts import restarted
from tests.edge_sdk.scene import ME, Scene


def test_a_device_whose_training_fails_leaves_and_says_so() -> None:
    scene = Scene("standard").at(Stage.WORKING)
    scene.mail.clear()
    effects = scene.take(dev.GaveUp(reason="the disk is full"))
    assert [e.reason for e in effects if isinstance(e, dev.Refused)] == ["TrainingFailed"]
    kept, forgotten, told = effects[:3]
    assert isinstance(kept, dev.Keep)
    assert isinstance(forgotten, dev.Forget), "what could still be masked is gone before it is told"
    assert set(SECRET_FILES) == set(forgotten.names)
    assert isinstance(told, dev.Send)
    assert opened(Envelope.decode(told.data), Withdraw) == Withdraw(reason="TrainingFailed")
    assert scene.session.stage is Stage.WITHDRAWN
    assert scene.session.last == told.data, "it is told again until the RESULT comes"
    assert scene.session.ledger.participations == 2, "what was charged stays charged"
    assert scene.of(agg.Withdrew) == [agg.Withdrew(round=2, attempt=1, device=ME, reason="TrainingFailed")]


@pytest.mark.parametrize("why", ["NotFinite", "TrainingFailed"])
def test_a_device_takes_no_later_attempt_of_a_round_that_it_sits_out(why: str) -> None:
    """Three devices of three are needed, so the attempt is over at once; the next one is left alone, or taken."""
    scene = Scene("standard").at(Stage.WORKING)
    scene.mail.clear()
    effects = scene.take(dev.GaveUp(reason=f"{why}: the loss", why=why))
    whole_round = why == "NotFinite"
    assert [type(e) for e in effects] == [dev.Charge] * whole_round + [dev.Keep, dev.Forget, dev.Send, dev.Refused]
    assert [aborted.reason for aborted in scene.of(agg.Aborted)] == ["TooFewVectors"]
    taken = [effect for event in list(scene.mail) for effect in scene.take(event)]
    assert any(isinstance(effect, dev.Fetch) for effect in taken) is not whole_round
    assert (scene.session.stage is Stage.IDLE) is whole_round
    if whole_round:
        assert restarted(scene).step(scene.mail[-1]) == (), "a restart makes it no better"


def test_power_that_is_lost_while_a_device_leaves_does_not_bring_it_back() -> None:
    """The ledger says that the round is sat out, and the files are still there: they go, and nothing is worked on."""
    scene = Scene("standard").at(Stage.WORKING)
    kept = {e.name: e.data for e in scene.of(dev.Keep)}
    scene.take(dev.GaveUp(reason="OutOfMemory: no room", why="OutOfMemory"))
    again = restarted(scene)
    effects = again.resume(Saved(joined=Joined.decode(kept["joined"]), shared=Shared.decode(kept["shared"])))
    assert [type(e) for e in effects] == [dev.Forget]
    assert again.stage is Stage.IDLE


@pytest.mark.parametrize("left", [(), SECRET_FILES])
def test_a_withdrawal_that_was_lost_is_sent_again_after_a_restart(left: tuple[str, ...]) -> None:
    """Power is lost before it leaves, the secrets deleted or not: the same bytes go, and no vector does."""
    scene = Scene("standard").at(Stage.WORKING)
    scene.take(dev.GaveUp(reason="the disk is full"))
    kept = {e.name: e.data for e in scene.of(dev.Keep)}
    told = scene.session.last
    files = {name: FILES[name].decode(kept[name]) for name in (*left, "withdrawn") if name in kept}
    again = restarted(scene)
    assert again.resume(Saved(**files)) == (dev.Forget(names=SECRET_FILES), dev.Send(data=told))
    assert (again.stage, again.last) == (Stage.WITHDRAWN, told)
    assert [e.reason for e in again.step(dev.Worked(found=scene.contribution(ME)))] == ["OutOfOrder"]
    other = restarted(scene, "another")
    assert [e.reason for e in other.resume(Saved(**files)) if isinstance(e, dev.Refused)] == ["CannotResume"]
