"""Which devices lose power when: a schedule for a demo, and a watcher that kills their processes at that step.

A step is seen in the device's own journal: what is about to leave is written there first.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from accord.errors import AccordError
from edge_sdk.journal import DiskRecords
from simulation.rig import JOB

STEPS = ("share", "training", "masked", "unmask", "join")
STRICT_STEPS = ("share", "training", "consistency", "masked", "unmask", "join")
SERVER = 5
"""The training round, after the first, in which the aggregator is killed and comes back."""
_SENT = 0.1  # seconds after a masked vector was written: it has left
_POLL = 0.003  # seconds between looks at a journal
_TRAINING = 0.05  # seconds after SHARE: the device is at work on its rows


@dataclass(frozen=True, kw_only=True)
class Blow:
    """One device that loses power at one step."""

    device: str
    step: str


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The blows of each round, by the protocol's round number, and the round that must abort.

    `server` is the round in which the aggregator and a device that has just sent its masked vector are killed together;
    both come back into it. `broker` is the round in which the broker is hurt while that device trains.
    """

    blows: Mapping[int, tuple[Blow, ...]] = field(default_factory=dict)
    abort: int | None = None
    server: tuple[int, Blow] | None = None
    broker: tuple[int, Blow] | None = None


def schedule(
    devices: tuple[str, ...], first: int, rounds: int, needed: int, steps: tuple[str, ...] = STEPS
) -> Schedule:
    """Return a schedule that kills at every step, never more than the profile carries, but in one round.

    Args:
        devices: ids; the last one is not touched, as it arrives late.
        first: the protocol's number of the first training round.
        rounds: training rounds.
        needed: survivors without which a cohort aborts.
        steps: at which devices are killed, one after another.
    """
    blows: dict[int, tuple[Blow, ...]] = {}
    carried = len(devices) - needed
    if carried < 1:
        return Schedule()
    turn = 0
    for at in range(1, rounds):
        number = first + at
        step = steps[(at - 1) % len(steps)]
        count = min(carried, 1 if at <= len(steps) else 2)
        blows[number] = tuple(Blow(device=devices[(turn + n) % (len(devices) - 1)], step=step) for n in range(count))
        turn += count
    abort = None
    if rounds >= 7 and needed > 3:
        abort = first + 6
        blows[abort] = tuple(Blow(device=name, step="share") for name in devices[: carried + 1])
    server = None
    if rounds > SERVER:
        spared = {blow.device for blow in blows[first + SERVER]}
        victim = next(device for device in devices if device not in spared)
        server = (first + SERVER, Blow(device=victim, step="masked"))
    return Schedule(blows=blows, abort=abort, server=server)


def with_broker(planned: Schedule, devices: tuple[str, ...], first: int, rounds: int) -> Schedule:
    """Return the schedule with the broker hurt in the third training round or the last, in which no device is killed.

    A broker that goes down takes with it the last wills that it kept: nobody would hear that a device is gone, too, and
    the round would wait for it until its deadline.

    Args:
        planned: who else is killed.
        devices: ids; the first shows when the round is in its middle.
        first: the protocol's number of the first training round.
        rounds: training rounds.
    """
    number = first + min(2, rounds - 1)
    blows = {at: struck for at, struck in planned.blows.items() if at != number}
    return replace(planned, blows=blows, broker=(number, Blow(device=devices[0], step="training")))


_FILES = {
    "share": "shared",
    "training": "shared",
    "masked": "masked",
    "consistency": "confirmed",
    "unmask": "answered",
}
"""The file that a device writes at each step, before the letter leaves."""


class Watcher:
    """Looks at the journals of a round's victims, and calls `kill` when they reach their step.

    Args:
        planned: the schedule.
        journals: the state folder of each device.
        kill: ends a device's process at once.
        revive: starts it again.
        kill_server: ends the aggregator's process at once.
        hurt_broker: kills a node of the broker, or starts it anew.
    """

    def __init__(
        self,
        planned: Schedule,
        journals: Mapping[str, Path],
        kill: Callable[[str], None],
        revive: Callable[[str], None],
        *,
        kill_server: Callable[[], None],
        hurt_broker: Callable[[], None],
    ) -> None:
        self._planned, self._journals, self._kill = planned, journals, kill
        self._revive, self._kill_server = revive, kill_server
        self._server, self._broker, self._hurt_broker = planned.server, planned.broker, hurt_broker
        self._stop = threading.Event()
        self._done: set[tuple[int, str]] = set()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(5)

    def struck(self, number: int) -> tuple[str, ...]:
        """Return the devices that were killed in a round."""
        return tuple(sorted(device for at, device in self._done if at == number))

    def _run(self) -> None:
        while not self._stop.wait(_POLL):
            for number, blows in self._planned.blows.items():
                for blow in blows:
                    if (number, blow.device) not in self._done and self._reached(number, blow):
                        self._done.add((number, blow.device))
                        self._kill(blow.device)
            if self._broker is not None and self._reached(*self._broker):
                self._broker = None
                self._hurt_broker()
            if self._server is not None and self._reached(*self._server):
                _, blow = self._server
                self._server = None
                self._stop.wait(_SENT)
                self._kill_server()
                self._kill(blow.device)
                self._revive(blow.device)

    def _reached(self, number: int, blow: Blow) -> bool:
        folder = self._journals[blow.device]
        try:
            ledger = DiskRecords(folder, JOB).ledger()
        except AccordError:
            return False
        if (ledger.round, ledger.attempt) != (number, 1):
            return False
        if blow.step == "join":
            return True
        letter = folder / _FILES[blow.step]
        try:  # a file that is older than the ledger is the attempt before's
            reached = letter.stat().st_mtime_ns >= (folder / "ledger").stat().st_mtime_ns
        except OSError:
            return False
        return reached and (blow.step != "training" or not self._stop.wait(_TRAINING))
