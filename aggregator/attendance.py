"""Who is there, as births and last wills say, and what everybody has carried, as heartbeats say: hints, all of it."""

from dataclasses import dataclass

from accord.wire.messages import Beat, State

FIGURES = ("bytes_up", "bytes_down", "payload_up", "payload_down")


@dataclass(kw_only=True)
class Seen:
    """One device: its last birth and its job, and the counters of its connections before this one and of this one."""

    online: bool = False
    birth: int = 0
    job: str = ""
    past: tuple[int, ...] = (0,) * len(FIGURES)
    beat: tuple[int, ...] = (0,) * len(FIGURES)

    beats: int = 0
    noted: tuple[int, int] = (0, 0)

    @property
    def carried(self) -> tuple[int, ...]:
        """Bytes so far, in the order of `FIGURES`."""
        return tuple(a + b for a, b in zip(self.past, self.beat, strict=True))

    def not_noted(self) -> tuple[int, int]:
        """Return the bytes up and down since the last call, which are then noted."""
        before, (up, down, *_) = self.noted, self.carried
        self.noted = (up, down)
        return self.noted[0] - before[0], self.noted[1] - before[1]


class Attendance:
    """The devices of a tenant, by id; `changed` holds those that were heard of since somebody emptied it."""

    def __init__(self) -> None:
        self.devices: dict[str, Seen] = {}
        self.changed: set[str] = set()

    def state(self, device: str, state: State) -> bool:
        """Take a birth or a will and return whether it counts: a will older than the last birth is stale."""
        seen = self._seen(device)
        if not state.online and state.birth < seen.birth:
            return False
        if state.birth > seen.birth:  # its counters start anew
            seen.past, seen.beat = seen.carried, (0,) * len(FIGURES)
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
        seen.beats += 1

    def beats(self, device: str) -> int:
        """Return how many heartbeats of a device have come."""
        return self.devices[device].beats if device in self.devices else 0

    def traffic(self) -> dict[str, int]:
        """Return the bytes that all devices together have carried so far."""
        sums = [0] * len(FIGURES)
        for seen in self.devices.values():
            sums = [total + value for total, value in zip(sums, seen.carried, strict=True)]
        return dict(zip(FIGURES, sums, strict=True))

    def _seen(self, device: str) -> Seen:
        self.changed.add(device)
        return self.devices.setdefault(device, Seen())
