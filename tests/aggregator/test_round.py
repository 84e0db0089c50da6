"""A cohort's round: every event in every phase, as a table; real letters of real devices, no phase reached by hand."""

import pytest

from accord.wire.check_in import Withdraw
from accord.wire.secure_sum import Quorum, Survivors
from aggregator import round as engine
from aggregator.round import TRANSITIONS, RoundState, next_time
from aggregator.round_values import Back, Failed, Gone, Opened, Phase, Refused, Tick, ToCohort
from tests.aggregator.cohort_scene import NAMES, WINDOWS, Scene
from tests.secagg.driven_cohort import BITS

PHASES = {
    "standard": (Phase.SHARING, Phase.COLLECTING, Phase.UNMASKING),
    "strict": (Phase.SHARING, Phase.COLLECTING, Phase.CONFIRMING, Phase.UNMASKING),
    "off": (Phase.COLLECTING, Phase.UNMASKING),
}
# Five members, of whom 0, 1 and 2 have answered in the phase, 3 has not yet, and 4 is never heard of again; three are
# enough, and 4 has no vector in, so that the answer of 3 is the last one. A cell is the next phase, the refusal, or "="
# where the phase stays and the event counts; "." is OutOfOrder and "!" nothing at all, as nothing moves a cohort that
# has ended. Each `-changed` letter differs from what was sent.
STANDARD = """
                  sharing        collecting     unmasking       closed   aborted
share             =              .              .               !        !
share-again       =              .              .               !        !
share-changed     SharesChanged  .              .               !        !
share-short       WrongShape     .              .               !        !
share-stranger    NotAMember     .              .               !        !
masked            .              =              .               !        !
masked-again      .              =              .               !        !
masked-changed    .              MaskedBefore   .               !        !
masked-dealers    .              WrongDealers   .               !        !
masked-short      .              WrongShape     .               !        !
masked-stranger   .              NotAMember     .               !        !
masked-undealt    .              NotADealer     .               !        !
unmask            .              .              closed          !        !
unmask-again      .              .              =               !        !
unmask-changed    .              .              AnsweredBefore  !        !
unmask-garbage    .              .              BadSeal         !        !
unmask-stranger   .              .              NotAMember      !        !
unmask-dead       .              .              NotASurvivor    !        !
withdraw          .              =              .               !        !
withdraw-late     .              .              .               !        !
withdraw-undealt  .              NotADealer     .               !        !
withdraw-stranger .              NotADealer     .               !        !
gone              =              =              =               !        !
back              =              =              =               !        !
tick              =              =              =               !        !
tick-grace        collecting     unmasking      closed          !        !
tick-deadline     collecting     unmasking      closed          !        !
"""
# Eight members, of whom six are enough; 3 is not yet heard, and 4 never. "again" is QUORUM once more, and nothing
# else: who confirms once it is out may not have got it.
STRICT = """
                      sharing         collecting      confirming      unmasking       closed          aborted
share                 =               .               .               .               !               !
share-again           =               .               .               .               !               !
share-changed         SharesChanged   .               .               .               !               !
share-short           WrongShape      .               .               .               !               !
share-stranger        NotAMember      .               .               .               !               !
masked                .               =               .               .               !               !
masked-again          .               =               .               .               !               !
masked-changed        .               MaskedBefore    .               .               !               !
masked-dealers        .               WrongDealers    .               .               !               !
masked-short          .               WrongShape      .               .               !               !
masked-stranger       .               NotAMember      .               .               !               !
masked-undealt        .               NotADealer      .               .               !               !
consistency           .               .               unmasking       again           !               !
consistency-again     .               .               =               again           !               !
consistency-changed   .               .               OtherSurvivors  .               !               !
consistency-stranger  .               .               NotAMember      .               !               !
consistency-dead      .               .               NotASurvivor    .               !               !
unmask                .               .               .               closed          !               !
unmask-again          .               .               .               =               !               !
unmask-changed        .               .               .               AnsweredBefore  !               !
unmask-garbage        .               .               .               BadSeal         !               !
unmask-stranger       .               .               .               NotAMember      !               !
unmask-dead           .               .               .               NotASurvivor    !               !
withdraw              .               =               .               .               !               !
withdraw-late         .               .               .               .               !               !
withdraw-undealt      .               NotADealer      .               .               !               !
withdraw-stranger     .               NotADealer      .               .               !               !
gone                  =               =               =               =               !               !
back                  =               =               =               =               !               !
tick                  =               =               =               =               !               !
tick-grace            collecting      confirming      unmasking       closed          !               !
tick-deadline         collecting      confirming      unmasking       closed          !               !
"""
OFF = """
                  collecting     unmasking       closed   aborted
share             .              .               !        !
masked            =              .               !        !
masked-again      =              .               !        !
masked-changed    MaskedBefore   .               !        !
masked-short      WrongShape     .               !        !
masked-garbage    BadSeal        .               !        !
masked-stranger   NotAMember     .               !        !
unmask            .              closed          !        !
unmask-again      .              =               !        !
unmask-stranger   .              NotASurvivor    !        !
unmask-dead       .              NotASurvivor    !        !
withdraw          =              .               !        !
withdraw-late     .              .               !        !
withdraw-stranger NotADealer     .               !        !
gone              =              =               !        !
back              =              =               !        !
tick              =              =               !        !
tick-grace        unmasking      closed          !        !
tick-deadline     unmasking      closed          !        !
"""
TABLES = {"standard": STANDARD, "strict": STRICT, "off": OFF}


def rows(table: str) -> dict[str, dict[Phase, str]]:
    head, *lines = [line.split() for line in table.strip().splitlines()]
    return {name: dict(zip(map(Phase, head), cells, strict=True)) for name, *cells in lines}


def following(profile: str, phase: Phase) -> Phase:
    row = TRANSITIONS[phase]
    return row.get("enough to confirm", row["enough"]) if profile == "strict" else row["enough"]


def known(profile: str) -> list[tuple[Phase, str, str]]:
    return [(phase, name, cell) for name, row in rows(TABLES[profile]).items() for phase, cell in row.items()]


@pytest.mark.parametrize("profile", TABLES)
def test_every_event_in_every_phase(profile: str) -> None:
    for phase, name, cell in known(profile):
        what = f"{profile}: {name} while {phase.value}"
        scene = Scene(profile)
        if name.endswith("-undealt") and phase is not Phase.SHARING:
            scene.close(silent=(4,))  # dev-004 has dealt nothing here
        scene.at(phase)
        event, before = scene.event(name), scene.state
        effects = scene.take(event)
        after = scene.state
        if cell in {p.value for p in Phase}:
            assert after.phase is Phase(cell) is following(profile, phase), what
            assert not any(isinstance(e, Refused | Failed) for e in effects), what
            continue
        assert after.phase is phase, what
        if cell == "!":
            assert after is before, what
            assert effects == (), what
            continue
        if cell == "again":
            assert effects == (ToCohort(devices=(event.device,), message=after.quorum),), what
            assert after is before, what
        elif cell == "=":
            assert effects == (), what
            counted = {NAMES[3]} if name in {"share", "masked"} else set()
            assert after.answered == before.answered | counted, what
        else:
            refusal = "OutOfOrder" if cell == "." else cell
            assert [e.reason for e in effects if isinstance(e, Refused)] == [refusal], what
            assert after is before, what
        scene.take(Back(device=NAMES[3]))
        opened = scene.to_the_end()
        assert opened.included == scene.included, what
        assert (opened.total == scene.sum_of(scene.included)).all(), what


@pytest.mark.parametrize("profile", TABLES)
def test_a_deadline_without_enough_answers_aborts_by_name(profile: str) -> None:
    reasons = {
        Phase.SHARING: "TooFewShares",
        Phase.COLLECTING: "TooFewVectors",
        Phase.CONFIRMING: "TooFewConfirmations",
        Phase.UNMASKING: "TooFewAnswers",
    }
    for phase, reason in reasons.items():
        for how in ("deadline", "grace"):
            scene = Scene(profile)
            if phase not in PHASES[profile]:
                continue
            while scene.state.phase is not phase:
                scene.close(silent=())
            for place in scene.early[:-1]:
                scene.receive(NAMES[place], scene.message(place))
            if how == "grace":
                for name in scene.names:
                    if NAMES.index(name) not in scene.early[:-1]:
                        scene.take(Gone(device=name))
                assert next_time(scene.state) == scene.now + WINDOWS.grace
                scene.now += WINDOWS.grace
            else:
                assert next_time(scene.state) == scene.state.deadline
                scene.now = scene.state.deadline
            effects = scene.take(Tick())
            assert [e.reason for e in effects if isinstance(e, Failed)] == [reason], (profile, phase, how)
            assert scene.state.phase is Phase.ABORTED is TRANSITIONS[phase]["failed"]
            assert scene.state.stage is None, "what the devices sent is forgotten with the abort"
            assert next_time(scene.state) is None


def test_the_last_answer_closes_a_phase_at_once() -> None:
    for profile, phases in PHASES.items():
        scene = Scene(profile)
        for phase in phases:
            assert scene.state.phase is phase
            for name in scene.state.expected[:-1]:
                assert scene.receive(name, scene.message(NAMES.index(name))) == ()
            last = scene.state.expected[-1]
            effects = scene.receive(last, scene.message(NAMES.index(last)))
            assert scene.state.phase is following(profile, phase)
            if phase is Phase.COLLECTING:
                everybody = scene.fleet.cohort.bitmap(range(len(scene.names)))
                assert [e.message for e in effects if isinstance(e, ToCohort)] == [Survivors(survivors=everybody)]
            if phase is Phase.CONFIRMING:
                [shown] = [e.message for e in effects if isinstance(e, ToCohort)]
                assert isinstance(shown, Quorum)
                assert len(shown.signatures) == scene.fleet.cohort.threshold == 6, "more would prove nothing more"
            if scene.state.phase in (Phase.CONFIRMING, Phase.UNMASKING):
                scene.answer_survivors()
        opened = scene.effects[-1]
        assert isinstance(opened, Opened)
        assert opened.included == scene.names
        assert opened.recovered == ()
        assert scene.now == 0.0


@pytest.mark.parametrize("profile", ["standard", "off"])
def test_nobody_waits_for_a_device_that_withdrew(profile: str) -> None:
    """Two of five can't train and say so: the phase closes with the third vector, and the clock has not moved."""
    scene = Scene(profile)
    while scene.state.phase is not Phase.COLLECTING:
        scene.close(silent=())
    begun = scene.now
    unsent = scene.message(4)
    scene.receive(NAMES[3], Withdraw(reason="OutOfMemory"))
    assert scene.receive(NAMES[4], Withdraw(reason="WrongLabel")) == ()
    assert [e.reason for e in scene.receive(NAMES[4], unsent) if isinstance(e, Refused)] == ["OutOfOrder"]
    for place in (0, 1, 2):
        scene.receive(NAMES[place], scene.message(place))
    assert scene.state.phase is Phase.UNMASKING
    assert scene.now == begun
    scene.answer_survivors()
    opened = scene.to_the_end()
    assert opened.included == NAMES[:3]
    assert (opened.total == sum(scene.fleet.vectors[:3]) % 2**BITS).all()
    assert opened.recovered == (NAMES[3:5] if profile == "standard" else ()), (
        "their masks are taken off like a dropout's"
    )


def test_a_device_that_comes_back_within_the_grace_is_waited_for() -> None:
    scene = Scene("standard").at(Phase.COLLECTING)
    for place in (3, 4):
        scene.take(Gone(device=NAMES[place]))
    scene.now += WINDOWS.grace / 2
    scene.take(Gone(device=NAMES[3]))  # a doubled will starts no new grace
    assert next_time(scene.state) == scene.now + WINDOWS.grace / 2
    scene.take(Back(device=NAMES[3]))
    scene.now += WINDOWS.grace
    scene.take(Tick())
    assert scene.state.phase is Phase.COLLECTING
    assert next_time(scene.state) == scene.state.deadline
    scene.receive(NAMES[3], scene.message(3))
    assert scene.state.phase is Phase.UNMASKING, "dev-004 is gone and everybody else has answered"


def test_every_phase_has_a_row_and_what_it_expects() -> None:
    assert set(TRANSITIONS) == set(engine.EXPECTED) == set(Phase)
    ended = {phase for phase, row in TRANSITIONS.items() if not row}
    assert ended == {Phase.CLOSED, Phase.ABORTED}
    assert {phase for phase, message in engine.EXPECTED.items() if message is None} == ended


def test_nothing_secret_shows_in_a_state() -> None:
    shown = repr(Scene("standard").at(Phase.UNMASKING).state)
    assert "seal_pair" not in shown
    assert "stage" not in shown
    assert isinstance(Scene("off").state, RoundState)
