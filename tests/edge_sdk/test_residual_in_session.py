"""A session and its residual: written before MASKED leaves, settled by RESULT, found again after power cuts."""

import dataclasses

import pytest

from accord.plan import Update
from accord.update.pipeline import Contribution
from accord.wire.envelope import Envelope
from accord.wire.messages import opened
from accord.wire.secure_sum import Result
from edge_sdk import session_values as dev
from edge_sdk.residual import RESIDUAL, VECTORS, Kept
from edge_sdk.saved import UNSETTLED
from edge_sdk.session_values import Stage
from tests.edge_sdk.half_sent import UPDATE, Half
from tests.edge_sdk.scene import ME


@pytest.mark.parametrize("profile", ["standard", "off"])
def test_it_is_written_before_the_vector_and_settled_by_the_result(profile: str) -> None:
    scene = Half(profile)
    assert scene.held() == [0.0, 0.25], "round 1 left out the second half"
    scene.order.clear()
    scene.at(Stage.MASKED)
    assert scene.order[-4:] == [VECTORS[1], RESIDUAL, "masked", "sent"], "one vector, and what names it"
    assert scene.held() == [0.0, 0.0], "it is in flight"
    scene.to_the_end()
    assert scene.held() == [0.0, 0.5]
    assert scene.kept.flights == ()


def test_power_that_goes_between_the_two_files_has_the_work_done_again_from_the_same_residual() -> None:
    scene = Half().at(Stage.WORKING)
    kept = [e for e in scene.session.step(scene.mail.popleft()) if isinstance(e, dev.Keep)]
    assert [e.name for e in kept] == [VECTORS[1], RESIDUAL, "masked"]
    scene.files |= {e.name: e.data for e in kept[:2]}
    before = scene.kept
    scene.restarted()
    assert scene.session.stage is Stage.SHARED
    scene.at(Stage.MASKED)
    assert [f.before for f in scene.kept.flights] == [f.before for f in before.flights]
    scene.to_the_end()
    assert scene.held() == [0.0, 0.5]


def test_power_that_goes_between_a_vector_and_what_names_it_leaves_the_one_before() -> None:
    scene = Half().at(Stage.WORKING)
    vector = scene.session.step(scene.mail.popleft())[0]
    assert isinstance(vector, dev.Keep)
    scene.files[vector.name] = vector.data
    scene.restarted()
    assert {name for name in scene.files if name in VECTORS} == {VECTORS[scene.kept.held - 1]}
    scene.to_the_end()
    assert scene.held() == [0.0, 0.5]


@pytest.mark.parametrize("stage", [Stage.MASKED, Stage.ANSWERED])
def test_power_that_goes_later_changes_nothing(stage: Stage) -> None:
    scene = Half().at(stage)
    scene.restarted()
    scene.to_the_end()
    assert scene.held() == [0.0, 0.5]


def test_power_that_goes_before_anything_of_the_attempt_is_written_leaves_it_held() -> None:
    scene = Half().at(Stage.WORKING)
    scene.mail.clear()
    scene.restarted()
    scene.to_the_end()
    assert scene.held() == [0.0, 0.5]


def test_a_result_that_is_overtaken_puts_it_back_late_and_the_next_update_has_none_of_it() -> None:
    scene = Half().at(Stage.ANSWERED)
    late = scene.mail.popleft()
    scene.mail.clear()
    scene.begin()
    opening = scene.mail.popleft()
    scene.take(opening)
    assert UNSETTLED in scene.files
    scene.restarted()
    assert len(scene.kept.flights) == 1, "it is still asked for"
    scene.take(late)
    assert scene.held() == [0.0, 0.5]


def test_what_nobody_tells_is_dropped() -> None:
    scene = Half().at(Stage.ANSWERED)
    scene.mail.clear()
    scene.begin()
    scene.to_the_end()
    assert scene.kept.flights == ()
    assert scene.held() == [0.0, 0.25], "of the third round; what the second had taken out may be in its sum"


def test_an_update_that_was_given_up_leaves_it_held() -> None:
    scene = Half().at(Stage.WORKING)
    scene.mail.clear()
    scene.take(dev.GaveUp(reason="the disk is full"))
    assert scene.held() == [0.0, 0.25]


def test_files_that_can_not_be_used_have_it_dropped() -> None:
    scene = Half().at(Stage.MASKED)
    scene.files["joined"] = scene.files["joined"].replace(b"dev-00", b"dev-99")
    effects = scene.restarted()
    assert [e.reason for e in effects if isinstance(e, dev.Refused)] == ["CannotResume"]
    assert scene.kept.flights == ()
    assert scene.held() == [0.0, 0.0]


def test_examples_that_are_erased_take_it_with_them() -> None:
    scene = Half()
    keep, forget = scene.session.erase_residual()
    assert isinstance(keep, dev.Keep)
    assert Kept.decode(keep.data).held == 0
    assert forget == dev.Forget(names=(VECTORS[scene.kept.held - 1],))


def test_examples_that_are_erased_while_the_device_works_leave_nothing_behind() -> None:
    scene = Half().at(Stage.WORKING)
    for effect in scene.session.erase_residual():
        if isinstance(effect, dev.Keep):
            scene.files[effect.name] = effect.data
    scene.to_the_end()
    assert scene.held() == [0.0, 0.0], "the update was found from rows that are gone"
    scene.begin()
    scene.to_the_end()
    assert scene.held() == [0.0, 0.25]


@pytest.mark.parametrize("profile", ["standard", "strict", "off"])
def test_a_sum_that_moved_nothing_puts_back_what_was_taken_out(profile: str) -> None:
    """Too few cohorts closed: the device is in an opened sum, and nothing of the sum is in the model."""
    scene = Half(profile)
    scene.to_the_end()
    assert scene.held() == [0.0, 0.5]
    scene.fewest = 5
    scene.begin()
    scene.at(Stage.ANSWERED)
    assert scene.held() == [0.0, 0.0]
    scene.to_the_end()
    finished = [e for e in scene.log if isinstance(e, dev.Finished)][-1]
    assert (finished.round, finished.status, finished.included) == (3, "closed", True)
    assert scene.held() == [0.0, 0.5], "as before the round"
    assert scene.kept.flights == ()
    scene.fewest = 1
    scene.begin()
    scene.to_the_end()
    assert scene.held() == [0.0, 0.75], "the round after it goes on"


@pytest.mark.parametrize(("reason", "lie"), [("TooFewCohorts", True), ("TooFewShares", False)])
def test_a_lie_and_any_other_reason_put_nothing_back_that_may_be_in_a_sum(reason: str, lie: bool) -> None:
    scene = Half().at(Stage.ANSWERED)
    result = scene.mail.popleft()
    assert isinstance(result, dev.Arrived)
    letter = Envelope.decode(result.data)
    changes = {"survivors": b"\x03"} if lie else {}
    message = dataclasses.replace(opened(letter, Result), reason=reason, **changes)
    effects = scene.take(dev.Arrived(data=scene.coordinator.desk.sealed(message, ME, letter.context)))
    assert [e.reason for e in effects if isinstance(e, dev.Refused)] == ["ResultContradicts"] * lie
    assert scene.held() == [0.0, 0.5], "as after an update that is in the model"


@pytest.mark.parametrize("changes", [{"line": 4}, {"feedback": 0}])
def test_a_plan_after_a_rollback_or_without_feedback_has_it_dropped_before_anything_else(
    changes: dict[str, int],
) -> None:
    scene = Half().at(Stage.ANSWERED)
    late = scene.mail.popleft()
    scene.mail.clear()
    scene.update = dataclasses.replace(UPDATE, **changes)
    scene.begin()
    scene.order.clear()
    scene.at(Stage.JOINED)
    assert scene.order[-3:] == [RESIDUAL, "joined", "sent"]
    assert (scene.kept.held, scene.kept.flights, scene.kept.line) == (0, (), changes.get("line", 0))
    scene.restarted()
    scene.take(late)
    assert scene.held() == [0.0, 0.0], "what was in flight comes back no more"
    scene.at(Stage.MASKED)
    scene.restarted()
    scene.to_the_end()
    assert scene.held() == [0.0, 0.25 if "line" in changes else 0.0], "of the new line alone"
    scene.update = dataclasses.replace(UPDATE, line=4)
    scene.begin()
    scene.to_the_end()
    assert scene.held() == [0.0, 0.5 if "line" in changes else 0.25]


def test_a_round_that_does_not_train_leaves_it() -> None:
    scene = Half()
    scene.to_the_end()
    scene.update = Update()
    measured = dataclasses.replace(scene.request(), purpose="evaluate", length=0, support=b"")
    scene.request = lambda **_: measured  # type: ignore[method-assign]
    scene.contribution = lambda _: Contribution(rows=3, figures={"count": 1, "loss": 1, "correct": 1})  # type: ignore[method-assign]
    scene.begin()
    scene.to_the_end()
    assert scene.session.ledger.closed_round == 3
    assert scene.held() == [0.0, 0.5]


def test_what_is_left_of_another_job_is_erased_at_the_start() -> None:
    scene = Half()
    scene.files[RESIDUAL] = dataclasses.replace(scene.kept, job="another").encode()
    scene.restarted()
    assert (scene.kept.job, scene.kept.held) == ("j", 0)
    assert not set(scene.files) & set(VECTORS)


def test_power_that_goes_while_an_attempt_is_left_for_the_next_one_loses_nothing() -> None:
    scene = Half().at(Stage.ANSWERED)
    before = dict(scene.files)
    late = scene.mail.popleft()
    scene.mail.clear()
    scene.begin()
    scene.take(scene.mail.popleft())
    scene.files = before | {UNSETTLED: scene.files[UNSETTLED]}
    flight = scene.kept.flights
    effects = scene.restarted()
    assert dev.Forget(names=(UNSETTLED,)) in effects
    assert scene.kept.flights == flight, "its RESULT may still come"
    scene.take(late)
    assert scene.held() == [0.0, 0.5]


@pytest.mark.parametrize("fits", [True, False])
def test_a_vector_that_was_damaged_is_erased_also_by_a_device_that_comes_back_into_an_attempt(fits: bool) -> None:
    scene = Half().at(Stage.MASKED)
    scene.update = dataclasses.replace(UPDATE, line=4)
    scene.to_the_end()
    scene.begin()
    scene.to_the_end()
    scene.begin()
    scene.at(Stage.JOINED)
    (vector,) = set(scene.files) & set(VECTORS)
    scene.files[vector] = scene.files[vector][:-1]
    if not fits:
        scene.files["joined"] = scene.files["joined"].replace(b"dev-00", b"dev-99")
    scene.restarted()
    assert not set(scene.files) & set(VECTORS), "it is private, and nobody can use it"
    assert (scene.kept.held, scene.kept.flights) == (0, ())
