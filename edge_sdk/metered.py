"""Whether there is a way to a network, and whether it costs by the byte: from the kernel and NetworkManager's files.

NetworkManager tells `metered` over D-Bus only, but it writes which connection a device uses under `/run`, and what the
owner said of it stands in its profile. Where nobody said anything, mobile links count as metered and others
do not, as NetworkManager guesses; it also knows a phone's hotspot, which these files don't show: mark such a network as
metered, or give readings of your own.
"""

import configparser
from collections.abc import Iterator
from pathlib import Path

from edge_sdk.kernel_file import Unreadable, names, text

PROFILES = ("etc/NetworkManager/system-connections", "run/NetworkManager/system-connections")
LARGEST = 1 << 16  # bytes of a routing table or a profile
_MOBILE = ("wwan", "ppp", "rmnet", "ccmni", "bnep", "bt-pan")
_SAID = {"1": True, "yes": True, "true": True, "2": False, "no": False, "false": False}


def network(root: Path) -> tuple[bool | None, bool | None]:
    """Return whether there is a way to a network, and whether one in use is metered; None is unknown.

    Args:
        root: what stands for `/`.
    """
    try:
        ways = set(_ways(root))
    except Unreadable:
        return None, None
    if not ways:
        known = any((root / "proc/net" / name).exists() for name in ("route", "ipv6_route"))
        return (False if known else None), None
    found = [_metered(root, way) for way in sorted(ways)]
    if True in found:
        return True, True
    return True, None if None in found else False


def _ways(root: Path) -> Iterator[str]:
    """Yield the interfaces with a default route."""
    for line in (text(root / "proc/net/route", LARGEST) or "").split("\n")[1:]:
        words = line.split()
        if len(words) > 3 and words[1] == "00000000" and int(words[3], 16) & 1:
            yield words[0]
    for line in (text(root / "proc/net/ipv6_route", LARGEST) or "").split("\n"):
        words = line.split()
        if len(words) == 10 and words[0] == "0" * 32 and words[1] == "00" and words[9] != "lo":
            yield words[9]


def _metered(root: Path, interface: str) -> bool | None:
    device = root / "sys/class/net" / interface
    try:
        index = text(device / "ifindex")
        state = _parsed(text(root / "run/NetworkManager/devices" / (index or ""), LARGEST) if index else None)
        uuid = state.get("device", "connection-uuid", fallback=None)
        said = None if uuid is None else _said(root, uuid)
        if said is not None:
            return said
        mobile = "DEVTYPE=wwan" in (text(device / "uevent") or "")
    except Unreadable:
        return None  # the profile is the owner's secret: only root may read what was said
    return mobile or interface.startswith(_MOBILE)


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
