"""On a link that misbehaves every round gives the exact sum or ends by name, and nobody is counted twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.link.memory import Faults
from tests.simulation.bad_link import BadLink

SETTINGS = {
    "drops a little": Faults(drop=0.02),
    "drops a lot": Faults(drop=0.15),
    "doubles": Faults(duplicate=0.5),
    "reorders": Faults(reorder=0.5),
    "delays": Faults(delay=4.0),
    "does everything": Faults(drop=0.02, duplicate=0.3, reorder=0.3, delay=1.0),
}


@pytest.mark.parametrize("profile", ["standard", "off"])
@pytest.mark.parametrize("faults", SETTINGS.values(), ids=SETTINGS)
def test_rounds_on_a_bad_link(faults: Faults, profile: str) -> None:
    played = BadLink(1, faults).rounds(4, profile)
    assert sum(played.ended[end] for end in ("exact", "given up")) == 4
    if faults.drop == 0:
        assert played.ended["exact"] == 4, "nothing was lost, so nothing may be missing"
        assert not played.ended.keys() - {"exact"}


@settings(max_examples=25, deadline=None)
@given(
    faults=st.builds(
        Faults,
        drop=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
        duplicate=st.floats(0, 0.5),
        reorder=st.floats(0, 0.5),
        delay=st.sampled_from([0.0, 0.5, 5.0, 40.0]),
    ),
    seed=st.integers(0, 2**32),
    profile=st.sampled_from(["standard", "off"]),
    dropout=st.sampled_from([0.0, 0.2, 0.5]),
    cohorts=st.sampled_from([1, 2]),
)
def test_any_link_any_dropouts(faults: Faults, seed: int, profile: str, dropout: float, cohorts: int) -> None:
    BadLink(seed, faults, dropout=dropout, cohorts=cohorts).rounds(2, profile)


def test_a_link_that_loses_everything_ends_by_name_at_the_deadlines() -> None:
    for profile in ("standard", "off"):
        played = BadLink(1, Faults(drop=1.0)).rounds(1, profile)
        assert played.ended == {"TooFewDevices": 3, "given up": 1}
        assert played.fleet.broker.now >= 3 * 60.0, "each attempt waited for its join window"


def test_the_same_seed_gives_the_same_round_on_the_same_bad_link() -> None:
    faults = Faults(drop=0.05, duplicate=0.2, reorder=0.2)
    one, two = (BadLink(5, faults, dropout=0.2).rounds(3, "standard") for _ in range(2))
    assert one.ended == two.ended
    assert one.fleet.coordinator.transcript == two.fleet.coordinator.transcript
    assert BadLink(6, faults, dropout=0.2).rounds(3, "standard").fleet.coordinator.transcript != (
        one.fleet.coordinator.transcript
    )
