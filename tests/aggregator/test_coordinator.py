"""The coordinator: every event at every stage of an attempt, as a table; what is refused leaves the round as it was."""

import dataclasses

import pytest

from accord import prg
from accord.errors import LocalProtocolError
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Later, opened
from accord.wire.secure_sum import Share
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev
from tests.aggregator.job_scene import ME, STAGES, Scene, events
from tests.fleet.queue_world import CLOCK, World

# All but dev-00 have answered, so that each stage waits for dev-00 alone; three of the four are enough. A cell is the
# next stage, the name under which the event is refused, or one of these: "=" where nothing happens; "again" where what
# dev-00 was sent last is sent again; "recall" where it gets the RESULT that was kept for it, if there is one; "later"
# where it is told to wait for the next opening; "raises" where our own side would be to blame. An old letter is round
# 1's. A device can stand at a later stage than a letter of its own that comes twice.
STANDARD = """
                 idle           inviting        joining         sharing         collecting      unmasking
start            inviting       raises          raises          raises          raises          raises
check-in         NoRound        joining         again           again           again           again
check-in-old     again          later           later           later           later           later
check-in-forged  NoRound        BadSignature    BadSignature    BadSignature    BadSignature    BadSignature
join             recall         recall          sharing         again           again           again
join-old         again          recall          WrongContext    WrongContext    WrongContext    WrongContext
join-forged      recall         recall          BadSignature    BadSignature    BadSignature    BadSignature
join-other       recall         recall          sharing         JoinedBefore    JoinedBefore    JoinedBefore
join-twin        recall         recall          DuplicateKey    JoinedBefore    JoinedBefore    JoinedBefore
share            recall         recall          OutOfOrder      collecting      again           again
share-old        again          recall          OutOfOrder      WrongContext    WrongContext    WrongContext
share-forged     recall         recall          BadSignature    BadSignature    BadSignature    BadSignature
masked           recall         recall          OutOfOrder      OutOfOrder      unmasking       again
masked-old       again          recall          OutOfOrder      WrongContext    WrongContext    WrongContext
masked-forged    recall         recall          BadSignature    BadSignature    BadSignature    BadSignature
unmask           recall         recall          OutOfOrder      OutOfOrder      OutOfOrder      idle
unmask-old       again          recall          OutOfOrder      WrongContext    WrongContext    WrongContext
unmask-forged    recall         recall          BadSignature    BadSignature    BadSignature    BadSignature
plan             NoRound        NotOffered      OutOfOrder      OutOfOrder      OutOfOrder      OutOfOrder
noise            BadMessage     BadMessage      BadMessage      BadMessage      BadMessage      BadMessage
foreign-topic    ForeignTopic   ForeignTopic    ForeignTopic    ForeignTopic    ForeignTopic    ForeignTopic
unknown          ForeignTopic   ForeignTopic    ForeignTopic    ForeignTopic    ForeignTopic    ForeignTopic
gone             =              sharing         =               =               =               =
back             =              =               =               =               =               =
tick             =              =               =               =               =               =
tick-grace       =              sharing         sharing         collecting      unmasking       idle
tick-deadline    =              sharing         sharing         collecting      unmasking       idle
"""
# Profile off knows no SHARE: a roster is followed by the vectors.
OFF = """
                 idle           inviting        joining         collecting      unmasking
start            inviting       raises          raises          raises          raises
check-in         NoRound        joining         again           again           again
check-in-old     again          later           later           later           later
check-in-forged  NoRound        BadSignature    BadSignature    BadSignature    BadSignature
join             recall         recall          collecting      again           again
join-old         again          recall          WrongContext    WrongContext    WrongContext
join-forged      recall         recall          BadSignature    BadSignature    BadSignature
join-other       recall         recall          collecting      JoinedBefore    JoinedBefore
join-twin        recall         recall          DuplicateKey    JoinedBefore    JoinedBefore
masked           recall         recall          OutOfOrder      unmasking       again
masked-old       again          recall          OutOfOrder      WrongContext    WrongContext
masked-forged    recall         recall          BadSignature    BadSignature    BadSignature
unmask           recall         recall          OutOfOrder      OutOfOrder      idle
unmask-old       again          recall          OutOfOrder      WrongContext    WrongContext
unmask-forged    recall         recall          BadSignature    BadSignature    BadSignature
plan             NoRound        NotOffered      OutOfOrder      OutOfOrder      OutOfOrder
noise            BadMessage     BadMessage      BadMessage      BadMessage      BadMessage
foreign-topic    ForeignTopic   ForeignTopic    ForeignTopic    ForeignTopic    ForeignTopic
unknown          ForeignTopic   ForeignTopic    ForeignTopic    ForeignTopic    ForeignTopic
gone             =              collecting      =               =               =
back             =              =               =               =               =
tick             =              =               =               =               =
tick-grace       =              collecting      collecting      unmasking       idle
tick-deadline    =              collecting      collecting      unmasking       idle
"""
TABLES = {"standard": STANDARD, "off": OFF}


def rows(table: str) -> dict[str, dict[str, str]]:
    head, *lines = [line.split() for line in table.strip().splitlines()]
    return {name: dict(zip(head, cells, strict=True)) for name, *cells in lines}


def happened(scene: Scene, name: str, known: dict[str, agg.Event]) -> list[object]:
    match name:
        case "start":
            return scene.take(scene.opening())
        case "tick":
            scene.now += 0.5
        case "tick-grace":
            scene.take(known["gone"])
            scene.now += 1
        case "tick-deadline":
            scene.now = max(scene.now, scene.coordinator.next_time() or 0)
    return scene.take(known[name.partition("-")[0] if name.startswith("tick") else name])


def named(told: object, last: bytes) -> str:
    match told:
        case agg.Log(reason=reason):
            return reason
        case agg.Recall():
            return "recall"
        case Envelope(tag="later/1"):
            return "later"
        case Envelope():
            return "again" if told.encode() == last else "another letter"
    return type(told).__name__


@pytest.mark.parametrize("profile", ["standard", "off"])
def test_every_event_at_every_stage(profile: str) -> None:
    known = events(profile)
    table = rows(TABLES[profile])
    assert set(table) == set(known) | {"start", "tick-grace", "tick-deadline"}
    undisturbed = Scene(profile)
    undisturbed.to_the_end()
    for name, row in table.items():
        for stage, cell in row.items():
            what = f"{profile}: {name} while {stage}"
            scene = Scene(profile).at(stage)
            if cell == "raises":
                with pytest.raises(LocalProtocolError, match="under way"):
                    happened(scene, name, known)
                told: list[object] = []
            else:
                told = happened(scene, name, known)
            if cell in STAGES:
                assert scene.stage == cell, what
                assert not any(isinstance(t, agg.Log | agg.Recall) for t in told), what
                continue
            assert scene.stage == stage, what
            if cell in {"=", "raises"}:
                assert told == [], what
            else:
                assert [named(t, scene.last) for t in told] == [cell], what
            if name in {"gone", "tick-grace"}:
                scene.take(known["back"])
            scene.settle()
            closed = scene.to_the_end()
            assert closed.included == ("dev-00", "dev-01", "dev-02", "dev-03"), what
            assert scene.coordinator.transcript == undisturbed.coordinator.transcript, what


def test_the_last_attempt_that_fails_ends_the_round() -> None:
    """Three attempts without enough devices: each is named, the last one is final, and the next round may start."""
    scene = Scene("standard")
    scene.sessions = {ME: scene.sessions[ME]}
    scene.begin()
    for number in (1, 2, 3):
        scene.now = scene.coordinator.next_time() or 0
        told = scene.take(agg.Tick())
        assert [(t.attempt, t.reason, t.final) for t in told if isinstance(t, agg.Aborted)] == [
            (number, "TooFewDevices", number == 3)
        ]
        scene.settle()
    assert scene.stage == "idle"
    assert scene.coordinator.next_time() is None
    assert scene.coordinator.step(agg.Tick(), scene.now, CLOCK) == ()
    scene.begin()
    assert scene.coordinator.round == 3


def test_a_wrong_dealer_is_named_and_barred_from_the_next_attempt() -> None:
    """dev-00 commits to another secret than it deals: the sum can't be opened, and dev-00 is not asked again."""
    scene = Scene("standard").at("sharing")
    letter = Envelope.decode(scene.held.popleft())
    lie = dataclasses.replace(opened(letter, Share), commitment=prg.digest(b"another"))
    forged = seal(
        TAG_OF[Share],
        lie.encode(),
        key=scene.sessions[ME].identity.key,
        sender=ME,
        recipient="aggregator",
        context=letter.context,
    )
    scene.aggregator(agg.Arrived(device=ME, data=forged.encode()))
    scene.settle()
    while len(scene.held) and scene.stage != "unmasking":
        scene.hand_over()
    aborted = scene.take(agg.Arrived(device=ME, data=scene.held.popleft()))[0]
    assert isinstance(aborted, agg.Aborted)
    assert (aborted.reason, aborted.final) == ("WrongDealer", False)
    assert ME in aborted.detail
    for to, data in list(scene.queue):
        if to == ME:
            scene.device(ME, dev.Arrived(data=data))
    _, check_in = scene.queue.pop()
    (later,) = scene.take(agg.Arrived(device=ME, data=check_in))
    assert isinstance(later, Envelope)
    assert opened(later, Later).reason.startswith("barred")
    scene.settle()
    closed = scene.of(agg.Closed)[-1]
    assert (closed.attempt, closed.included) == (2, ("dev-01", "dev-02", "dev-03"))
    scene.held.clear()
    scene.begin()
    while scene.held:
        scene.hand_over()
    assert scene.of(agg.Closed)[-1].included == ("dev-00", "dev-01", "dev-02", "dev-03"), "barred for one round only"


def test_one_cohort_may_fail_while_the_others_close() -> None:
    def mute(name: str, number: int) -> bool:
        """The first device of the first cohort dies before its vector leaves."""
        attempt = world.coordinator._attempt
        return number == 4 and name == min(n for n, c in attempt.of_device.items() if c.endswith("c1"))

    world = World(9, mute=mute)
    closed = world.run(cohorts=3)
    assert closed is not None
    assert closed.lost_cohorts == ("TooFewVectors",)
    assert (len(closed.totals), len(closed.included), len(closed.dropped)) == (2, 6, 3)
    told = {f.included for f in world.of(dev.Finished)}
    assert told == {True, False}, "each member learns whether it is in a sum"


def test_the_transcript_chains_rounds() -> None:
    """Each round's transcript hash depends on the one before, so that two histories never look alike."""
    scenes = [World(4), World(4)]
    seen = []
    for number, world in enumerate(scenes):
        for _ in range(2 + number):
            assert world.run() is not None
            seen.append(world.coordinator.transcript)
    assert seen[:2] == seen[2:4]
    assert len(set(seen)) == 3


def test_the_time_of_the_next_tick_is_one_at_which_something_can_happen() -> None:
    """A device checks in and dies; another one is online and has not checked in: nothing is due before the deadline."""
    scene = Scene("standard")
    opening = scene.opening()
    request = dataclasses.replace(opening.request, devices=5)
    scene.aggregator(dataclasses.replace(opening, request=request, online=(*opening.online, "dev-99")))
    scene.settle()
    scene.hand_over()
    gone = scene.take(agg.Presence(device=ME, online=False))
    assert gone == []
    deadline = 10.0
    assert scene.coordinator.next_time() == deadline
    scene.now = 5.0
    assert scene.take(agg.Tick()) == []
    assert scene.coordinator.next_time() == deadline
    scene.aggregator(agg.Presence(device="dev-99", online=False))
    assert scene.stage == "sharing", "nobody else is online, and dev-00 has been gone for longer than the grace"


def test_a_result_that_is_lost_twice_is_recalled_twice() -> None:
    """A device that missed its result asks with its last letter; each time it is answered, whatever got lost before."""
    scene = Scene("standard")
    unmask = scene.mine[0][-1]
    scene.at("inviting")
    for _ in range(2):
        (answer,) = scene.take(agg.Arrived(device=ME, data=unmask))
        assert isinstance(answer, agg.Recall)
