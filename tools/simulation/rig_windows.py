"""How long a fleet on this machine is waited for: longer the more of its processes share a core, or the broker's nodes.

All of these are bounds: a stage ends when everybody has answered, so on a fast machine none of them is felt.
"""

from collections.abc import Mapping

SHARING = 6
"""Devices that one core carries within the usual times."""
USUAL: Mapping[str, float] = {
    "gather": 4.0,
    "join": 6.0,
    "share": 10.0,
    "collect": 60.0,
    "confirm": 10.0,
    "unmask": 10.0,
    "grace": 1.0,
}
"""Seconds, by the names of an aggregator's `[windows]`."""
STARTING = 4.0
"""Seconds of one core in which a device's process starts, twice what was measured."""
ELECTION = 20.0
"""Seconds in which a cluster that has lost a node finds its leaders again: NATS 2.9 waits 4 to 9 before each election,
and ends the connection of who published meanwhile."""


def crowded(devices: int, cores: int) -> bool:
    """Return whether so many devices take longer than the usual times."""
    return devices > SHARING * cores


def windows(devices: int, cores: int, *, cluster: bool) -> dict[str, float]:
    """Return the windows of a fleet, in seconds.

    Args:
        devices: processes.
        cores: that they share.
        cluster: whether the broker has nodes, of which one may be lost.
    """
    share = max(1.0, devices / (SHARING * cores))
    found = {name: seconds * share for name, seconds in USUAL.items()}
    if crowded(devices, cores):
        found["gather"] = STARTING * devices / cores
    if cluster:
        found |= {name: found[name] + ELECTION for name in ("join", "share", "collect", "confirm", "unmask")}
    return found | {"grace": USUAL["grace"]}
