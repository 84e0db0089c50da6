"""The script by which root tells everybody what NetworkManager knows of a network; `nmcli` says what the test says."""

import os
import subprocess
from pathlib import Path

import pytest

from edge_sdk.metered import TOLD, network, ways

SCRIPT = Path(__file__).parent.parent.parent / "deploy" / "networkmanager" / "90-accord-metered"
ROUTE = "Iface\tDestination\tGateway\tFlags\nwlan0\t00000000\t0101A8C0\t0003\n"


class Machine:
    """A root folder with a default route by wlan0, and NetworkManager's tool."""

    def __init__(self, root: Path) -> None:
        self.root, self.tools = root, root / "bin"
        self.tools.mkdir()
        (root / "proc/net").mkdir(parents=True)
        (root / "proc/net/route").write_text(ROUTE)

    def dispatched(self, interface: str, action: str, says: str, **more: str) -> None:
        """NetworkManager calls the script; what its tool says of the interface is `says`."""
        nmcli = self.tools / "nmcli"
        nmcli.write_text(
            '#!/bin/sh\n[ "$*" = "-g GENERAL.METERED device show $WANTED" ] && [ "$LC_ALL" = C ] && echo "$SAYS"\n'
        )
        nmcli.chmod(0o755)
        own = {"PATH": f"{self.tools}:{os.environ['PATH']}", "ACCORD_TOLD": str(self.root / TOLD)}
        subprocess.run([SCRIPT, interface, action], check=True, env=own | {"WANTED": interface, "SAYS": says, **more})

    @property
    def told(self) -> list[str]:
        folder = self.root / TOLD
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("says", "means"), [("yes", True), ("no", False), ("yes (guessed)", True), ("no (guessed)", False)]
)
def test_what_networkmanager_says_reaches_a_device_that_may_not_read_its_files(
    says: str, means: bool, machine: Machine
) -> None:
    machine.dispatched("wlan0", "up", says)
    assert network(machine.root) == (True, means)
    (way,) = ways(machine.root) or ()
    assert way.source == "NetworkManager says so"
    assert (machine.root / TOLD / "wlan0").stat().st_mode & 0o777 == 0o644
    assert (machine.root / TOLD).stat().st_mode & 0o777 == 0o755
    machine.dispatched("wlan0", "dhcp4-change", "no" if means else "yes")
    assert network(machine.root) == (True, not means), "it is told anew at each change"
    machine.dispatched("wlan0", "down", "")
    assert machine.told == []


def test_what_it_does_not_know_is_left_to_the_other_files(machine: Machine) -> None:
    machine.dispatched("wlan0", "up", "unknown")
    assert network(machine.root) == (True, False)
    (way,) = ways(machine.root) or ()
    assert "nobody said anything" in way.source


def test_a_modem_is_told_under_the_name_that_routes_have(machine: Machine) -> None:
    machine.dispatched("cdc-wdm0", "up", "yes (guessed)", DEVICE_IP_IFACE="wwan0")
    assert machine.told == ["wwan0"]


@pytest.mark.parametrize("interface", ["", "none", "lo", "../evil"])
def test_what_is_no_interface_is_left_alone(interface: str, machine: Machine) -> None:
    machine.dispatched(interface, "hostname", "yes")
    assert machine.told == []
