"""How long a fleet on one machine is waited for."""

from simulation.rig_windows import ELECTION, USUAL, crowded, windows


def test_a_fleet_that_the_cores_carry_has_the_usual_windows() -> None:
    assert not crowded(12, 2)
    assert windows(12, 2, cluster=False) == USUAL
    assert windows(3, 64, cluster=False) == USUAL


def test_more_devices_on_a_core_are_waited_for_longer_but_a_last_will_counts_as_soon() -> None:
    assert crowded(13, 2)
    few, many = windows(12, 2, cluster=False), windows(100, 2, cluster=False)
    assert many["grace"] == few["grace"]
    assert all(many[name] > 8 * few[name] for name in few if name != "grace")
    assert windows(100, 16, cluster=False) == windows(50, 8, cluster=False)


def test_a_cluster_has_time_for_its_elections_in_every_stage() -> None:
    alone, nodes = windows(12, 2, cluster=False), windows(12, 2, cluster=True)
    longer = {name: nodes[name] - alone[name] for name in alone}
    assert longer == {
        "gather": 0,
        "grace": 0,
        **dict.fromkeys(("join", "share", "collect", "confirm", "unmask"), ELECTION),
    }
