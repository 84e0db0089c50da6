"""The device's session: every event at every stage, as a table; what is refused leaves no trace in what is sent."""

import dataclasses

import pytest

from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, TAGS, Later, Offer, Opening, opened
from accord.wire.secure_sum import Quorum, Result, Roster, Shares, Survivors
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev
from edge_sdk.session_values import TRANSITIONS, Stage
from edge_sdk.unsettled import SENT
from tests.edge_sdk.scene import ME, Scene, events
from tests.edge_sdk.session_tables import EFFECTS, TABLES, event_of, rows

READ = {TAG_OF[kind] for kind in (Opening, Later, Offer, Roster, Shares, Survivors, Quorum, Result)}


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
    """Shares that do not open are refused, and the honest ones after them, too: secrets were used on them."""
    scene = Scene("standard").at(Stage.SHARED)
    event = scene.mail[0]
    assert isinstance(event, dev.Arrived)
    letter = Envelope.decode(event.data)
    first, *others = opened(letter, Shares).sealed
    lie = dataclasses.replace(opened(letter, Shares), sealed=(bytes(len(first)), *others))
    effects = scene.take(dev.Arrived(data=scene.coordinator.desk.sealed(lie, ME, letter.context)))
    assert [e.reason for e in effects] == ["BadSeal"]
    assert [e.reason for e in scene.hand_over()] == ["SharesChanged"]
    assert scene.session.stage is Stage.SHARED
    scene.now = scene.coordinator.next_time() or 0
    scene.aggregator(agg.Tick())
    scene.settle()
    closing = scene.of(agg.Aborted)
    assert [a.reason for a in closing] == ["TooFewVectors"]
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
