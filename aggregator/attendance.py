"""Who is there, as births and last wills say, and what everybody has carried, as heartbeats say: hints, all of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from accord.wire.messages import Beat, State

FIGURES = ("bytes_up", "bytes_down", "payload_up", "payload_down")
Figures = tuple[int, ...]
"""Bytes, in the order of `FIGURES`."""
NOTHING: Figures = (0,) * len(FIGURES)


@dataclass(kw_only=True)
class Seen:
    """One device: its last birth and its job, and the counters of its connections before this one and of this one."""

    online: bool = False
    birth: int = 0
    job: str = ""
    past: Figures = NOTHING
    beat: Figures = NOTHING
    start: Figures = NOTHING
    inherited: bool = False
    """Whether a process before this one has counted the connection: what it carried up to its next heartbeat is known
    there, or to nobody."""
    beats: int = 0
    noted: tuple[int, int] = (0, 0)

    @property
    def carried(self) -> Figures:
        """Bytes so far, as far as this process knows."""
        return tuple(a + b - c for a, b, c in zip(self.past, self.beat, self.start, strict=True))

    def not_noted(self) -> tuple[int, int]:
        """Return the bytes up and down since the last call, which are then noted."""
        before, (up, down, *_) = self.noted, self.carried
        self.noted = (up, down)
        return self.noted[0] - before[0], self.noted[1] - before[1]


class Attendance:
    """The devices of a tenant, by id; `changed` holds those that were heard of since somebody emptied it.

    Args:
        births: of the connections that a process before this one has seen, by device.
    """

    def __init__(self, births: Mapping[str, int] | None = None) -> None:
        self._births = births or {}
        self.heard = 0
        """How many heartbeats have come."""
        self.devices: dict[str, Seen] = {}
        self.changed: set[str] = set()

    def state(self, device: str, state: State) -> bool:
        """Take a birth or a will and return whether it counts: a will older than the last birth is stale."""
        seen = self._seen(device)
        if not state.online and state.birth < seen.birth:
            return False
        goes_on = not seen.birth and state.birth <= self._births.get(device, -1)
        if state.birth > seen.birth and not goes_on:  # its counters start anew
            seen.past, seen.beat, seen.start, seen.inherited = seen.carried, NOTHING, NOTHING, False
        seen.birth = max(state.birth, seen.birth)
        seen.online, seen.job = state.online, state.job
        return True

    def job(self, device: str) -> str:
        """Return the job that a device said it takes part in; empty if it was not heard of."""
        return self.devices[device].job if device in self.devices else ""

    def beat(self, device: str, beat: Beat) -> None:
        """Take a heartbeat."""
        seen = self._seen(device)
        seen.beat = tuple(getattr(beat, name) for name in FIGURES)
        if seen.inherited:
            seen.start, seen.inherited = seen.beat, False
        seen.beats += 1
        self.heard += 1

    def beats(self, device: str) -> int:
        """Return how many heartbeats of a device have come."""
        return self.devices[device].beats if device in self.devices else 0

    def traffic(self, job: str) -> dict[str, Figures]:
        """Return the bytes that each device of a job has carried so far."""
        return {name: seen.carried for name, seen in self.devices.items() if seen.job == job}

    def _seen(self, device: str) -> Seen:
        self.changed.add(device)
        return self.devices.setdefault(device, Seen(inherited=device in self._births))


def moved(before: Mapping[str, Figures], after: Mapping[str, Figures]) -> dict[str, Figures]:
    """Return what each device carried between two calls of `Attendance.traffic`; who came meanwhile began at 0."""
    steps = {name: zip(figures, before.get(name, NOTHING), strict=True) for name, figures in after.items()}
    return {name: tuple(new - old for new, old in step) for name, step in steps.items()}


def apart(figures: Figures) -> dict[str, int]:
    """Return figures by name, with what was no payload beside the payload.

    A payload is counted before it is in the socket, so what is left of the bytes is not below 0.
    """
    named = dict(zip(FIGURES, figures, strict=True))
    return named | {f"control_{way}": max(0, named[f"bytes_{way}"] - named[f"payload_{way}"]) for way in ("up", "down")}


def added(known: Figures, before: Mapping[str, Figures], after: Mapping[str, Figures]) -> Figures:
    """Return `known` and what was carried between two calls of `Attendance.traffic`."""
    return tuple(map(sum, zip(known, *moved(before, after).values(), strict=True)))
