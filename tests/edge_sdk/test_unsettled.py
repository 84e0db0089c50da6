"""A RESULT that is overtaken by the next opening: the device asks for it and goes on, and learns how it ended."""

from collections.abc import Sequence

import pytest

from accord.errors import CodecError
from accord.wire.check_in import Ask
from accord.wire.envelope import Envelope
from accord.wire.messages import opened
from edge_sdk import session_values as dev
from edge_sdk.saved import EVERY_FILE, FILES, UNSETTLED, Saved, Unsettled
from edge_sdk.session_values import Stage
from edge_sdk.unsettled import SENT
from tests.edge_sdk.restarts import restarted
from tests.edge_sdk.scene import ME, Scene, events


def overtaken(stage: Stage, profile: str = "standard") -> tuple[Scene, dict[str, dev.Event], tuple[dev.Effect, ...]]:
    """Return a device to which the next opening came before round 2's RESULT, and what it did then."""
    known = events(profile)
    scene = Scene(profile).at(stage)
    return scene, known, scene.session.step(known["opening-next"])


def asked(effects: Sequence[dev.Effect]) -> list[Ask]:
    """Return the questions among the letters that were sent."""
    letters = [Envelope.decode(effect.data) for effect in effects if isinstance(effect, dev.Send)]
    return [opened(letter, Ask) for letter in letters if letter.tag == "ask/1"]


def files(effects: Sequence[dev.Effect]) -> set[str]:
    """Return the names of the files that are left after these effects."""
    found = set(FILES)
    for effect in effects:
        if isinstance(effect, dev.Keep):
            found.add(effect.name)
        elif isinstance(effect, dev.Forget):
            found -= set(effect.names)
    return found


def told(effects: Sequence[dev.Effect]) -> list[dev.Finished]:
    return [effect for effect in effects if isinstance(effect, dev.Finished)]


@pytest.mark.parametrize(
    ("profile", "stage"),
    [(profile, stage) for profile in ("standard", "strict", "off") for stage in (Stage.MASKED, Stage.ANSWERED)]
    + [("strict", Stage.CONFIRMED)],
)
def test_it_asks_goes_on_and_learns_that_it_was_included(stage: Stage, profile: str) -> None:
    scene, known, effects = overtaken(stage, profile)
    assert asked(effects) == [Ask(job="j", round=2, attempt=1)]
    assert files(effects) == {UNSETTLED}, "no secret of the attempt stays"
    assert scene.session.stage is Stage.FETCHING
    assert asked([dev.Send(data=scene.session.question)])
    effects = scene.session.step(known["result"])
    assert told(effects) == [dev.Finished(round=2, attempt=1, status="closed", included=True)]
    assert UNSETTLED not in files([dev.Keep(name=UNSETTLED, data=b""), *effects])
    assert scene.session.stage is Stage.FETCHING, "the later attempt goes on"
    assert scene.session.ledger.closed_round == 2
    assert scene.session.question == b""
    assert scene.session.step(known["result"]) == (), "it may come twice"


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage not in SENT])
def test_a_device_whose_vector_did_not_leave_has_nothing_to_ask(stage: Stage) -> None:
    scene, known, effects = overtaken(stage)
    assert asked(effects) == []
    assert UNSETTLED not in files(effects)
    assert told(scene.session.step(known["result"])) == []


def test_the_question_survives_a_power_cut() -> None:
    scene, known, effects = overtaken(Stage.ANSWERED)
    [kept] = [effect.data for effect in effects if isinstance(effect, dev.Keep)]
    again = restarted(scene)
    assert asked(again.resume(Saved(unsettled=Unsettled.decode(kept)))) == [Ask(job="j", round=2, attempt=1)]
    [finished] = told(again.step(known["result"]))
    assert finished.included


def test_after_a_power_cut_between_the_two_files_the_attempt_itself_is_resumed() -> None:
    """The question was written and the attempt not forgotten yet: there is one attempt, not two."""
    scene = Scene("standard")
    kept: dict[str, bytes] = {}
    while scene.session.stage is not Stage.ANSWERED:
        kept |= {e.name: e.data for e in scene.hand_over() if isinstance(e, dev.Keep)}
    known = events("standard")
    effects = scene.session.step(known["opening-next"])
    kept |= {e.name: e.data for e in effects if isinstance(e, dev.Keep)}
    saved = Saved(
        answered=FILES["answered"].decode(kept["answered"]),  # type: ignore[arg-type]
        unsettled=Unsettled.decode(kept[UNSETTLED]),
    )
    again = restarted(scene)
    effects = again.resume(saved)
    assert again.stage is Stage.ANSWERED
    assert asked(effects) == []
    assert [finished.included for finished in told(again.step(known["result"]))] == [True]


def test_a_lie_about_the_attempt_before_counts_as_included_and_a_stranger_changes_nothing() -> None:
    scene, known, _ = overtaken(Stage.ANSWERED)
    for name, reason in (("result-stray", "NotForUs"), ("result-early", "OutOfOrder")):
        assert [e.reason for e in scene.session.step(known[name]) if isinstance(e, dev.Refused)] == [reason]
    assert scene.session.question


def test_it_is_left_as_unknown_once_another_attempt_has_ended() -> None:
    """The aggregator has answered a whole attempt since: if it knew the RESULT it would have said so."""
    scene = Scene("standard").at(Stage.ANSWERED)
    scene.mail.clear()
    scene.begin()
    while scene.mail:
        effects = scene.hand_over()
    assert [finished.round for finished in told(effects)] == [3]
    assert scene.session.question == b""
    assert UNSETTLED not in files([dev.Keep(name=UNSETTLED, data=b""), *effects])


def test_files_that_a_power_cut_left_of_an_attempt_that_was_forgotten_go() -> None:
    """`joined` is deleted first; what is left would not fit the next attempt's."""
    scene = Scene("standard")
    kept: dict[str, bytes] = {}
    while scene.session.stage is not Stage.MASKED:
        kept |= {e.name: e.data for e in scene.hand_over() if isinstance(e, dev.Keep)}
    saved = Saved(masked=FILES["masked"].decode(kept["masked"]))  # type: ignore[arg-type]
    again = restarted(scene)
    assert not files(again.resume(saved)) & {"joined", "shared", "masked"}
    assert again.stage is Stage.IDLE


def test_a_device_that_was_given_another_job_leaves_what_the_old_one_left() -> None:
    _, known, effects = overtaken(Stage.ANSWERED)
    [kept] = [effect.data for effect in effects if isinstance(effect, dev.Keep)]
    scene = Scene("standard")
    again = restarted(scene, job="k")
    effects = again.resume(Saved(unsettled=Unsettled.decode(kept)))
    assert asked(effects) == []
    assert UNSETTLED not in files([dev.Keep(name=UNSETTLED, data=b""), *effects])
    assert [e.reason for e in again.step(known["opening-next"]) if isinstance(e, dev.Refused)] == ["ForeignJob"]


def test_every_file_is_known_by_its_record() -> None:
    assert set(EVERY_FILE) == {*FILES, UNSETTLED}
    with pytest.raises(CodecError):
        Unsettled.decode(b"")
    assert ME
