"""What surrounds a device at one moment: power, network, load, heat, memory, storage. None is what could not be read.

Read from the system by `edge_sdk.readings`, or given by the app that holds the device: on a phone the app knows better.
"""

from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """One set of readings; a field that is None is unknown."""

    charging: bool | None = None  # whether power comes in; True where there is no battery
    battery: float | None = None  # percent that is left; 100 where there is no battery
    connected: bool | None = None  # whether there is a way to a network
    metered: bool | None = None  # whether that way costs by the byte
    busy: float | None = None  # part of the time, 0 to 1, in which others wait for a processor
    temperature: float | None = None  # degrees Celsius of the hottest sensor
    throttled: bool | None = None  # whether the processor is slowed down because of heat
    free_memory: float | None = None  # MB (10^6 bytes)
    free_storage: float | None = None  # MB where the state folder lies
    total_storage: float | None = None  # MB


@dataclass(frozen=True, kw_only=True)
class Unmet:
    """A constraint that does not hold, by its name in the configuration, and what was read."""

    name: str
    detail: str
