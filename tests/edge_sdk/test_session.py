"""The device's session: every event at every stage, as a table; what is refused leaves no trace in what is sent."""

import dataclasses

import pytest

from accord.entropy import SeededEntropy
from accord.signing import SigningKey
from accord.wire.check_in import CheckIn, Withdraw
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, TAGS, Later, Offer, Opening, opened
from accord.wire.secure_sum import Join, Quorum, Result, Roster, Shares, Survivors
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev
from edge_sdk.saved import FILES, SECRET_FILES, Joined, Saved, Shared, Unsettled
from edge_sdk.session import Session
from edge_sdk.session_values import TRANSITIONS, Stage
from edge_sdk.unsettled import SENT
from tests.edge_sdk.scene import ME, Scene, events
from tests.fleet.test_rounds import BUNDLE, CLOCK, LAYOUT

READ = {TAG_OF[kind] for kind in (Opening, Later, Offer, Roster, Shares, Survivors, Quorum, Result)}

# A cell is the next stage or the name of the refusal; "." is OutOfOrder, "=" is nothing at all, "-" is not reachable.
# A letter called old is round 1's, shown in round 2; stray is bound to this attempt but meant for another device.
STANDARD = """
                 idle           fetching       checked-in     joined         shared         working        masked         answered       withdrawn
opening          fetching       =              =              =              =              =              =              =              =
opening-next     fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching
opening-old      =              =              =              OldRound       OldRound       OldRound       OldRound       OldRound       OldRound
opening-foreign  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle
fetched          .              checked-in     .              .              .              .              .              .              .
fetched-old      .              .              .              .              .              .              .              .              .
later            .              StaleNonce     idle           .              .              .              .              .              .
later-old        .              StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce
later-stray      .              NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs
plan             .              .              joined         .              .              .              .              .              .
plan-old         .              .              StaleNonce     .              .              .              .              .              .
plan-stray       .              .              NotForUs       .              .              .              .              .              .
roster           .              .              .              shared         RosterChanged  RosterChanged  RosterChanged  .              .
roster-old       .              .              .              WrongContext   WrongContext   WrongContext   WrongContext   .              .
roster-stray     .              .              .              NotForUs       NotForUs       NotForUs       NotForUs       .              .
shares           .              .              .              .              working        .              .              .              .
shares-old       .              .              .              .              WrongContext   .              .              .              .
shares-stray     .              .              .              .              NotForUs       .              .              .              .
worked           .              .              .              .              .              masked         .              .              .
gave-up          .              .              .              .              .              withdrawn      .              .              .
survivors        .              .              .              .              .              .              answered       .              .
survivors-old    .              .              .              .              .              .              WrongContext   .              .
survivors-stray  .              .              .              .              .              .              NotForUs       .              .
result           .              .              .              WrongContext   idle           idle           idle           idle           idle
result-early     .              .              .              idle           WrongContext   WrongContext   WrongContext   WrongContext   WrongContext
result-old       =              =              =              =              =              =              =              =              =
result-stray     .              .              .              WrongContext   NotForUs       NotForUs       NotForUs       NotForUs       NotForUs
"""  # noqa: E501 - one row, one event
# Here a survivor set is signed first; the same one may come again, and another one is a lie.
STRICT = """
                 idle           fetching       checked-in     joined         shared         working        masked         confirmed      answered       withdrawn
opening          fetching       =              =              =              =              =              =              =              =              =
opening-next     fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching
opening-old      =              =              =              OldRound       OldRound       OldRound       OldRound       OldRound       OldRound       OldRound
opening-foreign  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle
fetched          .              checked-in     .              .              .              .              .              .              .              .
fetched-old      .              .              .              .              .              .              .              .              .              .
later            .              StaleNonce     idle           .              .              .              .              .              .              .
later-old        .              StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce
later-stray      .              NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs
plan             .              .              joined         .              .              .              .              .              .              .
plan-old         .              .              StaleNonce     .              .              .              .              .              .              .
plan-stray       .              .              NotForUs       .              .              .              .              .              .              .
roster           .              .              .              shared         RosterChanged  RosterChanged  RosterChanged  RosterChanged  .              .
roster-old       .              .              .              WrongContext   WrongContext   WrongContext   WrongContext   WrongContext   .              .
roster-stray     .              .              .              NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       .              .
shares           .              .              .              .              working        .              .              .              .              .
shares-old       .              .              .              .              WrongContext   .              .              .              .              .
shares-stray     .              .              .              .              NotForUs       .              .              .              .              .
worked           .              .              .              .              .              masked         .              .              .              .
gave-up          .              .              .              .              .              withdrawn      .              .              .              .
survivors        .              .              .              .              .              .              confirmed      =              .              .
survivors-old    .              .              .              .              .              .              WrongContext   WrongContext   .              .
survivors-stray  .              .              .              .              .              .              NotForUs       NotForUs       .              .
survivors-other  .              .              .              .              .              .              -              SurvivorsChanged AnsweredBefore .
quorum           .              .              .              .              .              .              .              answered       .              .
quorum-old       .              .              .              .              .              .              .              WrongContext   .              .
quorum-stray     .              .              .              .              .              .              .              NotForUs       .              .
result           .              .              .              WrongContext   idle           idle           idle           idle           idle           idle
result-early     .              .              .              idle           WrongContext   WrongContext   WrongContext   WrongContext   WrongContext   WrongContext
result-old       =              =              =              =              =              =              =              =              =              =
result-stray     .              .              .              WrongContext   NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs
"""  # noqa: E501 - one row, one event
OFF = """
                 idle           fetching       checked-in     joined         shared  working        masked         answered       withdrawn
opening          fetching       =              =              =              -       =              =              =              =
opening-next     fetching       fetching       fetching       fetching       -       fetching       fetching       fetching       fetching
opening-old      =              =              =              OldRound       -       OldRound       OldRound       OldRound       OldRound
opening-foreign  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  -       ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle
fetched          .              checked-in     .              .              -       .              .              .              .
fetched-old      .              .              .              .              -       .              .              .              .
later            .              StaleNonce     idle           .              -       .              .              .              .
later-old        .              StaleNonce     StaleNonce     StaleNonce     -       StaleNonce     StaleNonce     StaleNonce     StaleNonce
later-stray      .              NotForUs       NotForUs       NotForUs       -       NotForUs       NotForUs       NotForUs       NotForUs
plan             .              .              joined         .              -       .              .              .              .
plan-old         .              .              StaleNonce     .              -       .              .              .              .
plan-stray       .              .              NotForUs       .              -       .              .              .              .
roster           .              .              .              working        -       .              .              .              .
roster-old       .              .              .              WrongContext   -       WrongContext   WrongContext   .              .
roster-stray     .              .              .              NotForUs       -       NotForUs       NotForUs       .              .
worked           .              .              .              .              -       masked         .              .              .
gave-up          .              .              .              .              -       withdrawn      .              .              .
survivors        .              .              .              .              -       .              answered       .              .
survivors-old    .              .              .              .              -       .              WrongContext   .              .
survivors-stray  .              .              .              .              -       .              NotForUs       .              .
result           .              .              .              WrongContext   -       idle           idle           idle           idle
result-early     .              .              .              idle           -       WrongContext   WrongContext   WrongContext   WrongContext
result-old       =              =              =              =              -       =              =              =              =
result-stray     .              .              .              WrongContext   -       NotForUs       NotForUs       NotForUs       NotForUs
"""  # noqa: E501 - one row, one event
TABLES = {"standard": STANDARD, "strict": STRICT, "off": OFF}
NAMED = {"gave-up": "gave up"}
OF_PROFILE = {("roster", "off"): "unmasked roster", ("survivors", "strict"): "survivors to confirm"}
"""What an event is called in TRANSITIONS where its row has another name."""
EFFECTS: dict[str, list[type]] = {
    "opening": [dev.Fetch],
    "fetched": [dev.Charge, dev.Send],
    "later": [],
    "plan": [dev.Keep, dev.Charge, dev.Send],
    "roster": [dev.Keep, dev.Send],
    "unmasked roster": [dev.Keep, dev.Work],
    "shares": [dev.Work],
    "worked": [dev.Keep, dev.Send],
    "gave up": [dev.Keep, dev.Forget, dev.Send, dev.Refused],
    "survivors": [dev.Keep, dev.Forget, dev.Send],
    "survivors to confirm": [dev.Keep, dev.Send],
    "quorum": [dev.Keep, dev.Forget, dev.Send],
    "result": [dev.Finished, dev.Charge, dev.Forget],
}
"""What each accepted event gives, in order: what binds a device is written before it leaves."""


def restarted(scene: Scene, job: str = "j") -> Session:
    """Return the session of a device that was restarted: of the one before only the ledger is left."""
    return Session(
        job=job,
        identity=scene.session.identity,
        limits=dev.Limits(smallest_cohort=3, allow_unmasked=True),
        layout=LAYOUT,
        bundle_digest=BUNDLE,
        entropy=SeededEntropy(9),
        ledger=scene.session.ledger,
        now=CLOCK,
    )


def rows(table: str) -> dict[str, dict[Stage, str]]:
    head, *lines = [line.split() for line in table.strip().splitlines()]
    return {name: dict(zip(map(Stage, head), cells, strict=True)) for name, *cells in lines}


def event_of(name: str, profile: str) -> str:
    event = NAMED.get(name, name.partition("-")[0])
    return OF_PROFILE.get((event, profile), event)


@pytest.fixture(scope="module", params=["standard", "strict", "off"])
def played(request: pytest.FixtureRequest) -> tuple[str, dict[str, dev.Event], list[bytes]]:
    return request.param, events(request.param), Scene(request.param).to_the_end()


def test_every_event_at_every_stage(played: tuple[str, dict[str, dev.Event], list[bytes]]) -> None:
    profile, known, undisturbed = played
    table = rows(TABLES[profile])
    assert set(table) == set(known)
    left = Scene(profile).at(Stage.WITHDRAWN).to_the_end()
    for name, row in table.items():
        for stage, cell in row.items():
            if cell == "-":
                continue
            scene = Scene(profile).at(stage)
            effects = scene.take(known[name])
            what = f"{profile}: {name} while {stage.value}"
            if cell in {s.value for s in Stage}:
                event = event_of(name, profile)
                assert scene.session.stage is Stage(cell) is TRANSITIONS[stage][event], what
                forgotten = [dev.Forget] if event == "opening" and stage is not Stage.IDLE else []
                if event == "opening" and stage in SENT:
                    forgotten = [dev.Keep, dev.Forget, dev.Send]
                expected = EFFECTS[event]
                if name == "result-early":  # which tells of no sum
                    expected = [dev.Finished, dev.Forget]
                elif event == "result" and stage not in SENT:  # it tells of a vector that never left
                    expected = [dev.Refused, *expected]
                    assert not any(e.included for e in effects if isinstance(e, dev.Finished)), what
                assert [type(e) for e in effects] == forgotten + expected, what
                continue
            assert scene.session.stage is stage, what
            if cell == "=":
                assert effects == (), what
            else:
                refusal = "OutOfOrder" if cell == "." else cell
                assert [e.reason for e in effects if isinstance(e, dev.Refused)] == [refusal], what
                assert len(effects) == 1, what
            assert scene.to_the_end() == (left if stage is Stage.WITHDRAWN else undisturbed), what
            assert len(scene.of(agg.Closed)[-1].included) == 3, what


def test_the_tables_hold_every_transition_and_no_other() -> None:
    accepted: dict[Stage, set[str]] = {stage: set() for stage in Stage}
    for profile, table in TABLES.items():
        for name, row in rows(table).items():
            for stage, cell in row.items():
                if cell in {s.value for s in Stage}:
                    accepted[stage].add(event_of(name, profile))
    assert accepted == {stage: set(row) - {"round closed"} for stage, row in TRANSITIONS.items()}


@pytest.mark.parametrize("stage", Stage)
def test_what_no_stage_takes(stage: Stage, played: tuple[str, dict[str, dev.Event], list[bytes]]) -> None:
    """Letters of others, of strangers and of no kind at all: refused at every stage, and nothing has changed."""
    profile, known, undisturbed = played
    if stage.value not in TABLES[profile].split("\n")[1].split() or (profile, stage) == ("off", Stage.SHARED):
        return
    scene = Scene(profile).at(stage)
    stranger = SigningKey(b"s" * 32)
    tried = [(b"noise", "BadMessage"), (b"", "BadMessage")]
    for event in known.values():
        if isinstance(event, dev.Arrived):
            letter = Envelope.decode(event.data)
            forged = seal(
                letter.tag, letter.payload, key=stranger, sender="aggregator", recipient=ME, context=letter.context
            )
            tried += [(forged.encode(), "BadSignature"), (event.data[:-1], "BadMessage")]
            tried.append((dataclasses.replace(letter, sender="dev-01").encode(), "Foreign"))
    key = scene.office.key
    for tag in (tag for tag in TAGS if tag not in READ):
        tried.append((seal(tag, b"", key=key, sender="aggregator", recipient=ME).encode(), "Foreign"))
    for data, reason in tried:
        effects = scene.take(dev.Arrived(data=data))
        assert [e.reason for e in effects] == [reason], (stage, reason, effects)
        assert scene.session.stage is stage
    expected = Scene(profile).at(stage).to_the_end() if stage is Stage.WITHDRAWN else undisturbed
    assert scene.to_the_end() == expected


def test_a_lie_within_an_attempt_ends_it_for_this_device_until_the_next_one() -> None:
    """A roster with a lowered threshold is refused, and the honest one after it too: no key pair sees two rosters."""
    scene = Scene("standard").at(Stage.JOINED)
    event = scene.mail[0]
    assert isinstance(event, dev.Arrived)
    letter = Envelope.decode(event.data)
    lie = dataclasses.replace(opened(letter, Roster), threshold=1)
    effects = scene.take(dev.Arrived(data=scene.coordinator.desk.sealed(lie, ME, letter.context)))
    assert [e.reason for e in effects] == ["WrongRule"]
    assert [e.reason for e in scene.hand_over()] == ["RosterChanged"]
    assert scene.session.stage is Stage.JOINED
    scene.now = scene.coordinator.next_time() or 0
    scene.aggregator(agg.Tick())
    scene.settle()
    closing = scene.of(agg.Aborted)
    assert [a.reason for a in closing] == ["TooFewShares"]
    assert len(scene.to_the_end()) > 2
    assert scene.session.ledger.attempt == 2
    assert scene.of(agg.Closed)[-1].included == ("dev-00", "dev-01", "dev-02")


def test_a_result_that_contradicts_the_answer_counts_as_included() -> None:
    scene = Scene("standard").at(Stage.ANSWERED)
    event = scene.mail[0]
    assert isinstance(event, dev.Arrived)
    letter = Envelope.decode(event.data)
    lie = dataclasses.replace(opened(letter, Result), survivors=b"\x03")
    effects = scene.take(dev.Arrived(data=scene.coordinator.desk.sealed(lie, ME, letter.context)))
    assert [type(e) for e in effects] == [dev.Refused, dev.Finished, dev.Charge, dev.Forget]
    assert effects[0].reason == "ResultContradicts"
    assert effects[1].included
    assert scene.session.stage is Stage.IDLE


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
