"""Keys with ML-KEM in a whole fleet: exact sums in every profile, restarts, and devices that ask for it or lack it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from crash_world import World as CrashWorld
from queue_world import World, expected_mean

from accord.errors import UsageError
from accord.files.crash import Crash
from accord.plan import HYBRID, PROFILES
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("lost", [(), ("dev-00",), ("dev-04",)])
def test_the_sum_is_that_of_those_who_stayed(profile: str, lost: tuple[str, ...]) -> None:
    """The lowest id, which offers a secret to all others, or the highest, which is offered one by all."""
    world = World(5, mute=lambda name, sent: name in lost and sent == (3 if profile == "off" else 4))
    closed = world.run(profile=profile, keys=HYBRID)
    assert closed is not None
    assert set(closed.included) == {f"dev-{i:02d}" for i in range(5)} - set(lost)
    assert set(closed.recovered) == (set() if profile == "off" else set(lost))
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)
    assert not world.of(agg.Log) + world.of(dev.Refused)


def test_a_device_that_asks_for_it_refuses_less_before_it_is_charged() -> None:
    world = World(4, keys=HYBRID)
    assert world.run() is None
    assert {refusal.reason for refusal in world.of(dev.Refused)} == {"WeakKeys"}
    assert {charge.ledger.participations for charge in world.of(dev.Charge)} == {0}
    assert World(4, keys=HYBRID).run(keys=HYBRID) is not None
    with pytest.raises(UsageError, match="keys 'rsa' is not x25519 or x25519"):
        dev.Limits(keys="rsa")


@pytest.mark.parametrize("profile", ["standard", "strict"])
def test_a_device_that_loses_power_sends_the_same_letters_again(profile: str) -> None:
    """Its second encapsulation would differ: what it sends again it reads from its disk."""
    calm = CrashWorld(rounds=1, profile=profile, keys=HYBRID)
    calm.run()
    calm.check()
    sends = calm.devices["dev-01"].fuse.count
    for at in range(1, sends):
        world = CrashWorld(rounds=1, profile=profile, keys=HYBRID)
        world.devices["dev-01"].fuse.at = at
        world.run()
        world.check()
        assert world.crashes == 1, at
        assert not any(device.refused for device in world.devices.values()), at
        shares = {letter.payload for letter in world.letters("dev-01", "share/2")}
        assert len(shares) == len({letter.context for letter in world.letters("dev-01", "share/2")}), at


def test_a_device_that_dies_at_any_change_to_its_disk_comes_back() -> None:
    calm = CrashWorld(rounds=1, keys=HYBRID)
    calm.run()
    changes = len(calm.devices["dev-01"].files.operations)
    for at in range(10, changes, 3):
        world = CrashWorld(rounds=1, keys=HYBRID)
        world.how = Crash(names="lost", data="torn")
        world.devices["dev-01"].files.cut_at = at
        world.run()
        world.check()
        assert not world.devices["dev-01"].refused, at
        assert [record["status"] for record in world.books.records] == ["closed"] * 2, at


WITHOUT = """
import json, sys
sys.modules["cryptography.hazmat.primitives.asymmetric.mlkem"] = None
sys.path[:0] = ["tests/vectors"]
from device_lies import PLAN, offered
from doors import recording
from recorded_fleet import reached
party = reached("dev-00", recording("cohort")[:PLAN])
answer = party.feed(offered(keys="x25519+mlkem768", seal_key=bytes(1216)))
print(json.dumps([answer, party.session.ledger.participations]))
"""


def test_a_device_without_ml_kem_refuses_before_it_is_charged() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, cwd=ROOT, env={"PYTHONPATH": "."}
    )
    assert json.loads(done.stdout) == [[[], ["NoPostQuantum"]], 0]
