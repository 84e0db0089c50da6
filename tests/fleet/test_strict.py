"""Profile `strict` in a whole fleet: who may be lost at which letter, and how a round that can't close ends."""

import numpy as np
import pytest
from queue_world import World, expected_mean

from accord.wire.envelope import Envelope
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev

LETTERS = {"join/2": 2, "share/2": 3, "masked/1": 4, "consistency/1": 5, "unmask/1": 6}
"""The place of each among the letters that a device sends in a round; CHECK-IN is the first."""
ABORTS = {"masked/1": "TooFewVectors", "consistency/1": "TooFewConfirmations", "unmask/1": "TooFewAnswers"}


def world_without(members: int, lost: int, tag: str) -> World:
    """Return a fleet of which `lost` devices lose power before the letter of this tag leaves."""
    gone = {f"dev-{number:02d}" for number in range(lost)}
    return World(members, mute=lambda name, sent: name in gone and sent == LETTERS[tag])


@pytest.mark.parametrize("tag", LETTERS)
def test_two_of_nine_may_be_lost_at_any_letter(tag: str) -> None:
    world = world_without(9, 2, tag)
    closed = world.run(profile="strict")
    assert closed is not None
    assert closed.attempt == 1
    lost = {"dev-00", "dev-01"}
    early = LETTERS[tag] < LETTERS["consistency/1"]
    assert set(closed.included) == {f"dev-{i:02d}" for i in range(9)} - (lost if early else set())
    assert set(closed.recovered) == (lost if tag == "masked/1" else set())
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)
    assert not world.of(agg.Log) + world.of(dev.Refused)


@pytest.mark.parametrize("tag", ABORTS)
@pytest.mark.parametrize(("members", "lost"), [(3, 0), (4, 1), (5, 1), (6, 1), (8, 2), (10, 3)])
def test_what_a_federation_of_sites_survives(members: int, lost: int, tag: str) -> None:
    """So many may be lost; one more, and the round is aborted by name, never closed with a wrong number."""
    world = world_without(members, lost, tag)
    closed = world.run(profile="strict", waits_for_all=True, cap=20)
    assert closed is not None
    assert closed.attempt == 1
    assert len(closed.included) == members - (lost if tag == "masked/1" else 0)
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)

    world = world_without(members, lost + 1, tag)
    closed = world.run(profile="strict", waits_for_all=True, cap=20)
    aborted = [abort.reason for abort in world.of(agg.Aborted)]
    assert aborted[0] == ABORTS[tag]
    assert closed is None or closed.attempt > 1


@pytest.mark.parametrize("profile", ["standard", "strict"])
def test_a_federation_of_sites_is_not_formed_without_one_of_them(profile: str) -> None:
    """A smaller roster bears fewer corrupt members than was planned for, so it says how many came."""
    world = world_without(6, 1, "join/2")
    assert world.run(profile=profile, waits_for_all=True, cap=20) is None
    assert {(abort.reason, abort.detail) for abort in world.of(agg.Aborted)} == {
        ("TooFewDevices", "5 joined; 6 needed")
    }
    assert world_without(6, 1, "join/2").run(profile=profile, cap=20) is not None


def test_a_survivor_that_was_away_hears_survivors_and_quorum_again() -> None:
    """Both letters are lost on their way to dev-00; it sends its vector again, gets both in order, and answers."""
    world = World(4)
    lost: list[str] = []
    carried = world.device

    def deaf(name: str, event: dev.Event) -> None:
        tag = Envelope.decode(event.data).tag if isinstance(event, dev.Arrived) and name == "dev-00" else ""
        if tag not in ("survivors/1", "quorum/1") or len(lost) == 2:
            carried(name, event)
            return
        lost.append(tag)
        if len(lost) == 2:
            world.queue.append(("aggregator:dev-00", world.sessions["dev-00"].last))

    world.device = deaf  # type: ignore[method-assign]
    closed = world.run(profile="strict")
    assert lost == ["survivors/1", "quorum/1"]
    assert closed is not None
    assert closed.attempt == 1
    assert len(closed.included) == 4
    finished = [f for f in world.of(dev.Finished) if f.included]
    assert len(finished) == 4
    refused = [refusal.detail for refusal in world.of(dev.Refused)]
    assert refused == ["quorum while answered"], "it confirmed late, and so was sent the quorum once more"


def test_a_device_refuses_a_roster_whose_threshold_is_below_its_own() -> None:
    """Three or five members would be enough for it, 100 and 80 %; of the four that came, 75 % open a secret."""
    world = World(4, smallest_threshold=80)
    assert world.run(profile="strict", cap=5) is None
    assert [refusal.reason for refusal in world.of(dev.Refused)][:4] == ["LowThreshold"] * 4
    assert world.of(agg.Aborted)[0].reason == "TooFewShares"
    assert World(5, smallest_threshold=80).run(profile="strict", cap=5) is not None
