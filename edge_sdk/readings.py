"""Reads a device's conditions from the kernel's files and NetworkManager's, with no other program and no D-Bus.

Everything lies under one root folder, so that tests and containers can show another. What these files say of phones,
boards and laptops differs; each rule names the case that it is for.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from accord.files import DISK, Disk, FileError
from edge_sdk.conditions import Conditions
from edge_sdk.kernel_file import Unreadable, names, number, text

MB = 1e6
_MAINS = frozenset(("Mains", "USB", "Wireless", "UPS"))
_COLDEST, _HOTTEST = -40.0, 150.0
"""Degrees Celsius that a sensor can mean: phones have zones that show -274 or 0 when switched off."""
_NOT_HEAT = frozenset(("PMIC-Die",))
"""Zones of a Jetson that always show 100 degrees."""
_THROTTLED = 0b1100
"""Bits of the Raspberry Pi's firmware: slowed down now, and at the soft limit of temperature now."""
_PI = "sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_VOLTAGE = 0b1
LARGEST_MEMINFO = 1 << 16  # bytes


class Readings:
    """Reads conditions when called.

    Args:
        folder: the state folder, whose storage is measured.
        root: what stands for `/`.
        disk: that the folder lies on.
    """

    def __init__(self, folder: Path, root: Path = Path("/"), disk: Disk = DISK) -> None:
        self._folder, self._root, self._disk = folder, root, disk

    def __call__(self) -> Conditions:
        """Return the conditions now; what can't be read is None."""
        from edge_sdk import metered  # noqa: PLC0415 - a device without constraints takes no readings

        charging, battery = self._power()
        connected, metered_ = metered.network(self._root)
        free, total = self._storage()
        throttled = self._firmware()
        return Conditions(
            charging=charging,
            battery=battery,
            connected=connected,
            metered=metered_,
            busy=self._busy(),
            temperature=max(self._temperatures(), default=None),
            throttled=None if throttled is None else bool(throttled & _THROTTLED),
            free_memory=self._memory(),
            free_storage=free,
            total_storage=total,
        )

    def weak_supply(self) -> bool | None:
        """Whether a Raspberry Pi's voltage is too low now, which corrupts cards; None where nobody measures it."""
        bits = self._firmware()
        return None if bits is None else bool(bits & _PI_VOLTAGE)

    def _power(self) -> tuple[bool | None, float | None]:
        """Return whether power comes in, and percent left.

        A machine that lists no battery of its own is on mains, whatever its USB ports say (a Jetson's say offline). A
        mouse has a battery too (`scope` is Device). A list that may not be read, as on many phones, is unknown.
        """
        folder = self._root / "sys/class/power_supply"
        try:
            supplies = [folder / name for name in names(folder)]
            batteries = [s for s in supplies if text(s / "type") == "Battery" and text(s / "scope") != "Device"]
            if not batteries:
                return True, 100.0
            mains = any(text(s / "type") in _MAINS and number(s / "online") == 1 for s in supplies)
            states = {text(battery / "status") for battery in batteries}
            levels = [level for battery in batteries if (level := number(battery / "capacity")) is not None]
        except Unreadable:
            return None, None
        charging = True if mains or states & {"Charging", "Full"} else (None if states == {None} else False)
        return charging, min(levels, default=None)

    def _temperatures(self) -> Iterator[float]:
        folder = self._root / "sys/class/thermal"
        try:
            zones = [folder / name for name in names(folder) if name.startswith("thermal_zone")]
        except Unreadable:
            return
        for zone in zones:
            try:
                value = number(zone / "temp")
                if text(zone / "type") in _NOT_HEAT:
                    continue
            except Unreadable:
                continue  # a zone that is switched off gives an error
            if value is not None and _COLDEST < value / 1_000 < _HOTTEST and value != 0:
                yield value / 1_000

    def _firmware(self) -> int | None:
        try:
            return int(text(self._root / _PI) or "", 16)
        except (Unreadable, ValueError):
            return None

    def _busy(self) -> float | None:
        """Return the part of the last ten seconds in which a task waited for a processor.

        Kernels without pressure stall information give the load average: one running task is taken to be our own.
        """
        try:
            found = text(self._root / "proc/pressure/cpu")
            if found is not None:
                for word in found.split("\n")[0].split():
                    if word.startswith("avg10="):
                        return float(word[6:]) / 100
        except (Unreadable, ValueError):
            pass  # kernels that were started without it have the file and refuse to read it
        try:
            load = float((text(self._root / "proc/loadavg") or "").split()[0])
        except (Unreadable, ValueError, IndexError):
            return None
        return max(0.0, load - 1.0) / (os.cpu_count() or 1)

    def _memory(self) -> float | None:
        try:
            for line in (text(self._root / "proc/meminfo", LARGEST_MEMINFO) or "").split("\n"):
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1_024 / MB
        except (Unreadable, ValueError, IndexError):
            pass
        return None

    def _storage(self) -> tuple[float | None, float | None]:
        try:
            space = self._disk.space(self._folder)
        except FileError:
            return None, None
        return space.free / MB, space.total / MB
