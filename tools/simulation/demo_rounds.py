"""The rounds of a demo as the aggregator tells them: a row each, and who is started again between two of them."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from accord.errors import AccordError
from simulation import chaos, evaluation
from simulation.history import Abort, RoundRow
from simulation.metrics import Evaluation
from simulation.rig import Rig
from simulation.rig_broker import HURT
from simulation.task import Kind


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Who is told what: sentences, and rounds."""

    say: Callable[[str], None]
    add: Callable[[RoundRow], None]


class DemoRounds:
    """What became of each round, and of each device in it.

    Args:
        rig: the processes; those that were killed are started again after each round.
        audience: who is told.
        kind: of the task.
        held: test rows by device, which the masked sums must count.
        planned: who is killed when.
        statistics: rounds before the first training round.
        late: a device that is started after the first training round; empty if all are there from the start.
    """

    def __init__(
        self,
        rig: Rig,
        audience: Audience,
        *,
        kind: Kind,
        held: Mapping[str, int],
        planned: chaos.Schedule,
        statistics: int,
        late: str = "",
    ) -> None:
        self.rows: list[RoundRow] = []
        """The training rounds, in order."""
        self.exact = 0
        """Rounds whose masked count of rows equals the rows of the devices in the sum."""
        self.included: Counter[str] = Counter()
        """How many training rounds each device was in."""
        self.dropped: Counter[str] = Counter()
        """How many training rounds each device left."""
        self._statistics = statistics
        self._rig, self._audience, self._kind, self._held = rig, audience, kind, held
        self._planned, self._late = planned, late

    def take(self, facts: Iterable[Mapping[str, Any]]) -> None:
        """Add a row for each training round: the tails of a round measure the model of the round before.

        Args:
            facts: what the aggregator prints, until it ends.

        Raises:
            AccordError: a sum was wrong.
        """
        aborted: list[Abort] = []
        included: list[str] = []
        waiting: list[RoundRow] = []  # rows whose model was not measured yet: the last one is this round's

        def add(row: RoundRow, figures: Evaluation) -> None:
            self.rows.append(dataclasses.replace(row, evaluation=figures))
            self._audience.add(self.rows[-1])

        for fact in facts:
            if fact["event"] == "aborted":
                aborted.append(Abort(attempt=fact["attempt"], reason=fact["reason"], detail=fact["detail"]))
            elif fact["event"] == "figures" and fact["purpose"] in ("train", "evaluate"):
                self._exact(fact, included)
                last = waiting.pop() if fact["purpose"] == "train" else None
                for row in waiting:
                    add(row, evaluation.of_sums(self._kind, fact["figures"]))
                waiting = [] if last is None else [last]
            elif fact["event"] == "round":
                included = fact["included"]
                self._came_back(fact["round"], included)
                if fact["purpose"] == "train":
                    self.included.update(fact["included"])
                    self.dropped.update(fact["dropped"])
                    waiting.append(self._row(fact, tuple(aborted)))
                aborted = []
                if fact["round"] == self._statistics + 1 and self._late:
                    self._audience.say(f"{self._late} arrives late")
                    self._rig.start_device(self._late)
                self._revive(fact["round"])

    def _exact(self, fact: Mapping[str, Any], included: list[str]) -> None:
        """Compare the test rows that were counted inside the masked vectors with those of the devices in the sum.

        Raises:
            AccordError: the sum is wrong: a mask was left in it.
        """
        counted, there = round(fact["figures"]["count"][0]), sum(self._held[name] for name in included)
        if counted != there:
            raise AccordError(f"round {fact['round']}: {counted} rows were counted where {there} are: a wrong sum")
        self.exact += 1

    def _came_back(self, number: int, included: list[str]) -> None:
        if self._planned.broker is not None and self._planned.broker[0] == number:
            self._audience.say(HURT[self._rig.settings.broker])
        server = self._planned.server
        if server is None or server[0] != number:
            return
        device = server[1].device
        back = f", and {device} between masked and unmask" if device in included else ""
        self._audience.say(f"killed: the aggregator in the middle of a round{back}; back in the same round")

    def _revive(self, number: int) -> None:
        dead = self._rig.dead()
        if not dead:
            return
        steps = {blow.device: blow.step for blow in self._planned.blows.get(number, ())}
        told = ", ".join(f"{name} at {steps[name]}" if name in steps else name for name in dead)
        self._audience.say(f"killed: {told}; back for the next round")
        for name in dead:
            self._rig.start_device(name)

    def _row(self, fact: Mapping[str, Any], aborted: tuple[Abort, ...]) -> RoundRow:
        devices = max(1, fact["devices"])
        carried = {name: max(0, value) / devices for name, value in fact["bytes"].items()}
        return RoundRow(
            round=fact["round"] - self._statistics,
            attempt=fact["attempt"],
            evaluation=Evaluation(rows=0),
            participants=len(fact["included"]),
            dropouts=len(fact["dropped"]),
            recovered=len(fact["recovered"]),
            payload_bytes_up=carried["payload_up"],
            payload_bytes_down=carried["payload_down"],
            control_bytes_up=_rest(carried["bytes_up"], carried["payload_up"]),
            control_bytes_down=_rest(carried["bytes_down"], carried["payload_down"]),
            bytes_at_least=fact["bytes_at_least"],
            seconds=fact["seconds"],
            aborted=aborted,
            saturated=fact.get("saturated", 0.0),
            doubled=fact.get("scale_doubled", False),
            way_down=fact.get("way_down", ""),
        )


def _rest(everything: float, payload: float) -> float:
    return max(0.0, everything - payload)
