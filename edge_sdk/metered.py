"""Whether there is a way to a network, and whether it costs by the byte: from the kernel and NetworkManager's files.

NetworkManager tells `metered` over D-Bus only. A script that it runs as root can write what it says into a file for
everybody (deploy/networkmanager); that file is believed first. Without it, NetworkManager's own files tell which
connection is used and what the owner said of it, which is for root to read alone. Where nobody said anything, mobile
links count as metered and others do not, as NetworkManager guesses; that a network is a phone's hotspot it tells over
D-Bus alone.
"""

import configparser
from collections.abc import Iterator
from pathlib import Path

from accord.values import dataclass
from edge_sdk.kernel_file import Unreadable, names, text

PROFILES = ("etc/NetworkManager/system-connections", "run/NetworkManager/system-connections")
TOLD = "run/accord/metered"
"""A file for each interface, written by root, that holds what `nmcli` says of it."""
LARGEST = 1 << 16  # bytes of a routing table or a profile
_MOBILE = ("wwan", "ppp", "rmnet", "ccmni", "bnep", "bt-pan")
_SAID = {"1": True, "yes": True, "true": True, "2": False, "no": False, "false": False}


@dataclass(frozen=True, kw_only=True)
class Way:
    """An interface with a default route: whether it is metered (None is unknown), and how that is known or why not."""

    interface: str
    metered: bool | None
    source: str


def network(root: Path) -> tuple[bool | None, bool | None]:
    """Return whether there is a way to a network, and whether one in use is metered; None is unknown.

    Args:
        root: what stands for `/`.
    """
    found = ways(root)
    if found is None:
        return None, None
    if not found:
        known = any((root / "proc/net" / name).exists() for name in ("route", "ipv6_route"))
        return (False if known else None), None
    metered = [way.metered for way in found]
    if True in metered:
        return True, True
    return True, None if None in metered else False


def ways(root: Path) -> tuple[Way, ...] | None:
    """Return the interfaces by which something is sent, by name; None where that can't be read.

    Args:
        root: what stands for `/`.
    """
    try:
        return tuple(_way(root, interface) for interface in sorted(set(_interfaces(root))))
    except Unreadable:
        return None


def _interfaces(root: Path) -> Iterator[str]:
    """Yield the interfaces with a default route."""
    for line in (text(root / "proc/net/route", LARGEST) or "").split("\n")[1:]:
        words = line.split()
        if len(words) > 3 and words[1] == "00000000" and int(words[3], 16) & 1:
            yield words[0]
    for line in (text(root / "proc/net/ipv6_route", LARGEST) or "").split("\n"):
        words = line.split()
        if len(words) == 10 and words[0] == "0" * 32 and words[1] == "00" and words[9] != "lo":
            yield words[9]


def _way(root: Path, interface: str) -> Way:
    device = root / "sys/class/net" / interface
    try:
        told = (text(root / TOLD / interface) or "").partition(" ")[0]
        if told in ("yes", "no"):
            return Way(interface=interface, metered=told == "yes", source="NetworkManager says so")
        index = text(device / "ifindex")
        state = _parsed(text(root / "run/NetworkManager/devices" / (index or ""), LARGEST) if index else None)
        uuid = state.get("device", "connection-uuid", fallback=None)
        said = None if uuid is None else _said(root, uuid)
        if said is not None:
            return Way(interface=interface, metered=said, source="its owner said so in NetworkManager")
        mobile = "DEVTYPE=wwan" in (text(device / "uevent") or "")
    except Unreadable:  # the profile is the owner's secret: only root may read what was said
        return Way(interface=interface, metered=None, source="what its owner told NetworkManager is for root to read")
    metered = mobile or interface.startswith(_MOBILE)
    kind = "a mobile link" if metered else "no mobile link"
    return Way(interface=interface, metered=metered, source=f"nobody said anything, and it is {kind}")


def _said(root: Path, uuid: str) -> bool | None:
    """Return what the owner said of a connection; None if nothing."""
    for folder in PROFILES:
        for name in names(root / folder):
            profile = _parsed(text(root / folder / name, LARGEST))
            if profile.get("connection", "uuid", fallback=None) == uuid:
                return _SAID.get(profile.get("connection", "metered", fallback=""))
    return None


def _parsed(found: str | None) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(found or "")
    except configparser.Error:
        parser.clear()
    return parser
