"""When a device may train: constraints with the names of Android's WorkManager, and the rule that judges readings.

Unknown readings: what would cost the owner something stays forbidden (charging, battery, metered network, storage, a
device in use); what most machines can't tell, or what shows itself in another way, is allowed (connection, temperature,
memory).
"""

from collections.abc import Iterator

from accord.errors import UsageError
from accord.values import dataclass
from edge_sdk.conditions import Conditions, Unmet

NETWORK_TYPES = ("not_required", "connected", "unmetered")
BATTERY_LOW, BATTERY_OKAY = 15.0, 20.0
"""Percent: Android's own marks. Work stops at the first and starts again at the second."""
STORAGE_LOW_PART, STORAGE_LOW_MOST = 0.05, 500.0
"""Storage is low under a twentieth of it, or under so many MB where that is less, as on Android."""
BUSY = 0.2
"""The part of the time in which somebody waits for a processor, from which a device counts as in use."""
COOLER = 3.0
"""Degrees Celsius under the limit at which work that stopped for heat starts again."""


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What must hold while this device trains; nothing is asked for unless it is written down."""

    requires_charging: bool = False
    requires_battery_not_low: bool = False
    requires_device_idle: bool = False
    requires_storage_not_low: bool = False
    network_type: str = "not_required"  # not_required, connected, unmetered
    max_temperature: float | None = None  # degrees Celsius of the hottest sensor
    min_free_memory: float | None = None  # MB (10^6 bytes) beside what the device uses itself

    def __post_init__(self) -> None:
        for name in ("charging", "battery_not_low", "device_idle", "storage_not_low"):
            if type(getattr(self, f"requires_{name}")) is not bool:
                raise UsageError(f"requires_{name} is true or false")
        if self.network_type not in NETWORK_TYPES:
            raise UsageError(f"network_type {self.network_type!r} is unknown: use {', '.join(NETWORK_TYPES)}")
        for name, low, high in (("max_temperature", 0, 150), ("min_free_memory", 0, 1e6)):
            value = getattr(self, name)
            if value is not None and (type(value) not in (int, float) or not low < value < high):
                raise UsageError(f"{name} is a number between {low:g} and {high:g}")

    def unmet(self, now: Conditions, *, resting: bool = False) -> tuple[Unmet, ...]:
        """Return the constraints that do not hold.

        Args:
            now: the readings.
            resting: whether work is stopped already: it starts again only with some room, so that it does not flutter.
        """
        return tuple(Unmet(name=name, detail=detail) for name, detail in self._failures(now, resting=resting))

    def _failures(self, now: Conditions, *, resting: bool) -> Iterator[tuple[str, str]]:
        if self.requires_charging and not now.charging:
            yield "requires_charging", _said(now.charging, "no power comes in", "the power supply")
        if self.requires_battery_not_low and not _above(now.battery, BATTERY_OKAY if resting else BATTERY_LOW):
            yield "requires_battery_not_low", _said(now.battery, f"{now.battery} % left", "the battery")
        if self.network_type != "not_required" and now.connected is False:
            yield "network_type", "there is no way to a network"
        elif self.network_type == "unmetered" and now.metered is not False:
            yield "network_type", _said(now.metered, "the network is metered", "whether the network is metered")
        if self.requires_device_idle and (now.busy is None or now.busy >= BUSY):
            detail = f"others wait for a processor {100 * (now.busy or 0):.0f} % of the time"
            yield "requires_device_idle", _said(now.busy, detail, "the load")
        if self.requires_storage_not_low and not self._room(now):
            yield "requires_storage_not_low", _said(now.free_storage, f"{now.free_storage} MB left", "the free storage")
        yield from self._heat(now, resting=resting)
        if self.min_free_memory is not None and now.free_memory is not None and now.free_memory < self.min_free_memory:
            yield "min_free_memory", f"{now.free_memory:.0f} MB free, {self.min_free_memory:g} asked for"

    def _heat(self, now: Conditions, *, resting: bool) -> Iterator[tuple[str, str]]:
        if self.max_temperature is None:
            return
        limit = self.max_temperature - (COOLER if resting else 0.0)
        if now.temperature is not None and now.temperature > limit:
            yield "max_temperature", f"{now.temperature:.1f} degrees Celsius, at most {limit:g} now"
        elif now.throttled:
            yield "max_temperature", "the processor is slowed down because of heat"

    def _room(self, now: Conditions) -> bool:
        if now.free_storage is None or now.total_storage is None:
            return False
        return now.free_storage >= min(STORAGE_LOW_PART * now.total_storage, STORAGE_LOW_MOST)


def _above(value: float | None, mark: float) -> bool:
    return value is not None and value > mark


def _said(value: float | None, detail: str, what: str) -> str:
    return f"{what} can't be read: give readings of your own" if value is None else detail
