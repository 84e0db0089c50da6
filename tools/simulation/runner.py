"""Runs a job's rounds over a simulated fleet and keeps a row for each training round."""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from accord.errors import AccordError
from accord.update.snapshot import Snapshot
from aggregator.job import Job
from aggregator.job_step import Step
from simulation import evaluation
from simulation.fleet import Attempted, SimulatedFleet, failed
from simulation.history import Abort, RoundRow
from simulation.metrics import Evaluation
from simulation.notes import Notes, counted
from simulation.task import Kind
from simulation.turns import Turns

Told = Callable[[RoundRow], None]
Released = Callable[[int, Snapshot], None]
UNDER_WAY = {
    "powers": "masked statistics, 1 of 2: how large features are, over {} devices",
    "moments": "masked statistics, 2 of 2: means and variances, over {} devices",
    "evaluate": "last evaluation, on {} devices",
}
"""What rounds that do not train are for."""


class Runner:
    """One run of one job; `rows` and `dropouts` grow as rounds close.

    Args:
        fleet: the devices.
        job: what to run.
        kind: the task, which says what the tails hold.
        names: the devices that take part.
        most: training rounds that each is asked to at most; 0: any number.
        told: called with each row once the model of its round was measured.
        released: called with the number of a training round and the model that it gave.
        notes: told what is under way, and why devices could not train.
    """

    def __init__(
        self,
        *,
        fleet: SimulatedFleet,
        job: Job,
        kind: Kind,
        names: Sequence[str],
        told: Told,
        notes: Notes,
        most: int = 0,
        released: Released = lambda _round, _model: None,
    ) -> None:
        self.fleet, self.job, self._kind, self._names, self._told = fleet, job, kind, list(names), told
        self._notes, self._released = notes, released
        self._turns = Turns(names, most, job.settings.rounds, fleet.choose)
        self._failures: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._releases, self._held = 0, dict.fromkeys(names, 0)
        self.rows: list[RoundRow] = []
        self.dropouts = dict.fromkeys(names, 0)

    def run(self) -> list[RoundRow]:
        """Run the job's rounds and return their rows."""
        names = self._names
        pending: RoundRow | None = None
        while (request := self.job.request()) is not None:
            training = request.purpose == "train"
            awake = self._turns.next(request.devices) if training else names
            if not training:
                self._notes.pass_by(UNDER_WAY[request.purpose].format(len(awake)))
            before, advanced, started = self._counters(awake), self._advanced(awake), time.perf_counter()
            attempted = self.fleet.round(request, awake, dropouts=training)
            step: Step | None = None
            if attempted.closed is None:
                if not training:
                    raise failed(attempted, f"the {request.purpose} round")
                self.job.skip()
            else:
                step = self.job.closed(attempted.closed)
                if step.reason and not training:
                    raise AccordError(f"the {request.purpose} round says nothing that can be believed: {step.reason}")
                pending = self._took(step, pending)
            if training:
                if pending is not None:
                    self._tell(pending)
                pending = self._row(attempted, step, awake, before, time.perf_counter() - started)
                pending = dataclasses.replace(pending, versions_advanced=advanced)
            self._failed(attempted)
        if pending is not None:
            self._tell(pending)
        for detail, rounds in self._failures.items():
            times = sum(rounds.values())
            self._notes.keep(
                counted(sorted(rounds), f"failed to train, {times} {'time' if times == 1 else 'times'} ({detail})")
            )
        return self.rows

    def _failed(self, attempted: Attempted) -> None:
        """Remember which devices could not train; say each reason when it first comes up."""
        for device, refusal in attempted.given_up:
            if refusal.detail not in self._failures:
                self._notes.pass_by(f"{device} failed to train: {refusal.detail}")
            self._failures[refusal.detail][device] += 1

    def _took(self, step: Step, pending: RoundRow | None) -> RoundRow | None:
        """Release what a closed round gave; its tail says how good the model of the round before is."""
        if step.snapshot is not None:
            self.fleet.release(step.snapshot.encode())
            self._releases += 1
            if step.purpose == "train":
                self._released(len(self.rows) + (pending is not None) + 1, step.snapshot)
        if pending is not None and "loss" in step.figures:
            return dataclasses.replace(pending, evaluation=evaluation.of_sums(self._kind, step.figures))
        return pending

    def _tell(self, row: RoundRow) -> None:
        self.rows.append(row)
        self._told(row)

    def _advanced(self, names: Sequence[str]) -> float:
        """Return by how many versions these devices come forward in a round, mean over devices."""
        versions = sum(self._releases - self._held[name] for name in names)
        self._held.update(dict.fromkeys(names, self._releases))
        return versions / len(names)

    def _counters(self, names: Sequence[str]) -> tuple[int, int, int, int]:
        devices = [self.fleet.devices[name] for name in names]
        return (
            sum(d.bytes_up for d in devices),
            sum(d.bytes_down for d in devices),
            sum(d.payload.payload_up for d in devices),
            sum(d.payload.payload_down for d in devices),
        )

    def _row(
        self,
        attempted: Attempted,
        step: Step | None,
        awake: Sequence[str],
        before: tuple[int, int, int, int],
        seconds: float,
    ) -> RoundRow:
        up, down, payload_up, payload_down = (
            (now - then) / len(awake) for now, then in zip(self._counters(awake), before, strict=True)
        )
        closed = attempted.closed
        for name in () if closed is None else closed.dropped:
            self.dropouts[name] += 1
        last = attempted.aborted[-1].attempt if closed is None else closed.attempt
        return RoundRow(
            round=len(self.rows) + 1,
            attempt=last,
            evaluation=Evaluation(rows=0),
            participants=0 if closed is None else len(closed.included),
            dropouts=len(awake) if closed is None else len(closed.dropped),
            recovered=0 if closed is None else len(closed.recovered),
            cohorts=self.job.settings.cohorts if closed is None else len(closed.totals),
            payload_bytes_up=payload_up,
            payload_bytes_down=payload_down,
            control_bytes_up=up - payload_up,
            control_bytes_down=down - payload_down,
            seconds=seconds,
            aborted=tuple(Abort(attempt=a.attempt, reason=a.reason, detail=a.detail) for a in attempted.aborted),
            saturated=0.0 if step is None else step.saturated,
            doubled=step is not None and step.doubled,
            way_down="" if step is None else step.way_down,
        )
