"""What a training run did, round by round, in values that can be shown, plotted and printed as JSON."""

import math
import re
from dataclasses import dataclass
from typing import Any

from accord.errors import UsageError
from accord.ids import checked_device
from simulation.baselines import Curve
from simulation.metrics import Evaluation
from simulation.task import KINDS, Kind

HEADLINES: dict[Kind, str] = {"classification": "accuracy", "binary": "auroc", "regression": "mae"}
"""The one metric by which a round of each task is judged first."""


CARRIED = ("payload_bytes_up", "payload_bytes_down", "control_bytes_up", "control_bytes_down")
"""What a device has carried, mean over the devices of each round: of a round, and of all training rounds together."""


@dataclass(frozen=True, kw_only=True)
class Abort:
    """An attempt of a round that ended without a sum.

    Args:
        attempt: its number, 1-based.
        reason: the stable name, in CamelCase.
        detail: a sentence for people.

    Raises:
        UsageError: the number is below 1 or the reason is no name.
    """

    attempt: int
    reason: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.attempt < 1 or re.fullmatch(r"[A-Z][A-Za-z0-9]*", self.reason) is None:
            raise UsageError(f"attempt {self.attempt} can't have ended with {self.reason!r}: name the reason")


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """One round: what it reached, who took part, what it cost.

    Args:
        round: 1-based.
        attempt: the attempt that gave the sum, or the last one of a round that gave none; 1-based.
        evaluation: sums over the devices' own test rows; every metric None if the round gave no sum.
        participants: devices whose update is in the sum.
        dropouts: devices that joined this attempt and whose update is not in the sum.
        recovered: dropouts whose masks the others' shares took out of the sum.
        payload_bytes_up: update bytes that a device sent, mean over devices, this attempt.
        payload_bytes_down: model bytes that a device fetched, the same.
        control_bytes_up: all other bytes that a device sent over the link, the same.
        control_bytes_down: all other bytes that a device received, the same.
        seconds: from the first announcement of the round to its end, with attempts that were aborted.
        cohorts: secure sums that the round was made of.
        aborted: attempts that ended without a sum, in order.
        saturated: the share of the update's values that devices had to cut, from 0 to 1.
        doubled: whether the fixed-point scales at least doubled for the next round because of it.
        bytes_at_least: whether some bytes were not measured, as the aggregator was restarted.
        versions_advanced: by how many versions of the model a device came forward, mean over devices; None where nobody
            counts.
        way_down: how the release that the round made says what it changed: factors, blocks, whole, still or snapshot;
            empty where it made none. Devices fetch it in the rounds that follow.

    Raises:
        UsageError: a number is negative, not finite, or does not go with another.
    """

    round: int
    evaluation: Evaluation
    participants: int
    dropouts: int
    payload_bytes_up: float
    payload_bytes_down: float
    control_bytes_up: float
    control_bytes_down: float
    seconds: float
    attempt: int = 1
    recovered: int = 0
    cohorts: int = 1
    aborted: tuple[Abort, ...] = ()
    saturated: float = 0.0
    doubled: bool = False
    bytes_at_least: bool = False
    versions_advanced: float | None = None
    way_down: str = ""

    def __post_init__(self) -> None:
        if self.round < 1 or self.attempt < 1:
            raise UsageError(f"round {self.round}, attempt {self.attempt}: both are counted from 1")
        numbers = (self.participants, self.dropouts, self.recovered, self.cohorts, self.seconds, self.saturated)
        carried = (
            self.payload_bytes_up, self.payload_bytes_down, self.control_bytes_up, self.control_bytes_down,
        )  # fmt: skip
        if not all(math.isfinite(n) and n >= 0 for n in (*numbers, *carried)):
            raise UsageError(f"round {self.round}: counts, bytes and seconds are 0 or more, not {numbers}")
        if self.recovered > self.dropouts:
            raise UsageError(f"round {self.round}: {self.recovered} of {self.dropouts} dropouts can't be recovered")
        numbered = [a.attempt for a in self.aborted]
        if numbered != sorted(set(numbered)) or any(n > self.attempt for n in numbered):
            raise UsageError(f"round {self.round}: aborted attempts {numbered} are not in order up to {self.attempt}")

    @property
    def gave_sum(self) -> bool:
        """Whether the round ended with a sum; if not, the model stayed as it was."""
        return all(a.attempt != self.attempt for a in self.aborted)

    @property
    def bytes_up_per_device(self) -> float:
        """All bytes that a device sent over the link, mean over devices."""
        return self.payload_bytes_up + self.control_bytes_up

    @property
    def bytes_down_per_device(self) -> float:
        """All bytes that a device received over the link, mean over devices."""
        return self.payload_bytes_down + self.control_bytes_down

    def to_json(self, kind: Kind) -> dict[str, Any]:
        """Return the round ready for json.dumps: the metrics of the task, null where undefined, and all else."""
        metrics = {
            "classification": {"accuracy": self.evaluation.accuracy},
            "binary": {"auroc": self.evaluation.auroc, "accuracy": self.evaluation.accuracy},
            "regression": {"mae": self.evaluation.mae},
        }[kind]
        return {
            "round": self.round,
            **metrics,
            "loss": self.evaluation.loss,
            "participants": self.participants,
            "dropouts": self.dropouts,
            "recovered": self.recovered,
            "bytes_up_per_device": _bytes(self.bytes_up_per_device),
            "bytes_down_per_device": _bytes(self.bytes_down_per_device),
            "payload_bytes_up": _bytes(self.payload_bytes_up),
            "payload_bytes_down": _bytes(self.payload_bytes_down),
            "control_bytes_up": _bytes(self.control_bytes_up),
            "control_bytes_down": _bytes(self.control_bytes_down),
            "bytes_at_least": self.bytes_at_least,
            "versions_advanced": self.versions_advanced,
            "way_down": self.way_down,
            "seconds": round(self.seconds, 3),
            "attempt": self.attempt,
            "cohorts": self.cohorts,
            "saturated": round(self.saturated, 6),
            "scale_doubled": self.doubled,
            "aborted": [{"attempt": a.attempt, "reason": a.reason, "detail": a.detail} for a in self.aborted],
        }


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """What one device held and did.

    Args:
        device: its id.
        origin: its name in the data, where that is another.
        train_rows: rows to train on.
        test_rows: rows to evaluate on.
        dropped_rows: rows left out because a value in them was not finite.
        participations: rounds whose sum holds its update.
        dropouts: rounds that it joined and left early.
        notes: what is special about it, such as "test rows only".
        accuracy_before: of the model that the job began with, on its own test rows; None where nobody asked.
        accuracy_after: of the last model.

    Raises:
        CodecError: the id is no name.
        UsageError: a count is negative.
    """

    device: str
    train_rows: int
    test_rows: int
    origin: str = ""
    dropped_rows: int = 0
    participations: int = 0
    dropouts: int = 0
    notes: tuple[str, ...] = ()
    accuracy_before: float | None = None
    accuracy_after: float | None = None

    def __post_init__(self) -> None:
        checked_device(self.device)
        if min(self.train_rows, self.test_rows, self.dropped_rows, self.participations, self.dropouts) < 0:
            raise UsageError(f"{self.device}: a count is negative")

    def to_json(self) -> dict[str, Any]:
        """Return the device ready for json.dumps, without its id."""
        return {
            "origin": self.origin or self.device,
            "train_rows": self.train_rows,
            "test_rows": self.test_rows,
            "dropped_rows": self.dropped_rows,
            "participations": self.participations,
            "dropouts": self.dropouts,
            "notes": list(self.notes),
            **({} if self.accuracy_before is None else {"accuracy_before": self.accuracy_before}),
            **({} if self.accuracy_after is None else {"accuracy_after": self.accuracy_after}),
        }


@dataclass(frozen=True, kw_only=True)
class History:
    """A whole run.

    Args:
        kind: the task.
        rounds: in order; numbers may have gaps (a device's log), never repeat.
        final: the last model on all test rows, pooled by the simulator.
        devices: each once.
        model_digest: of the last model's parameters, lower-case hexadecimal.
        fedavg: plain FedAvg on the same devices, where it was run.
        centralized: one model on all rows, where it was run.
        exported: what the int8 model reaches that an app would run, where one was exported.
        notes: sentences that a person must see: what was inferred, clamped or left out.

    Raises:
        UsageError: rounds or devices repeat or are out of order, or the digest is none.
    """

    kind: Kind
    rounds: tuple[RoundRow, ...]
    final: Evaluation
    devices: tuple[DeviceRow, ...]
    model_digest: str
    fedavg: Curve | None = None
    centralized: Curve | None = None
    exported: Evaluation | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"task {self.kind!r} is unknown")
        numbers, ids = [r.round for r in self.rounds], [d.device for d in self.devices]
        if numbers != sorted(set(numbers)) or len(set(ids)) != len(ids):
            raise UsageError("a history has its rounds in order, and each round and each device once")
        if re.fullmatch(r"[0-9a-f]{16,128}", self.model_digest) is None:
            raise UsageError(f"{self.model_digest!r} is no digest in hexadecimal")

    @property
    def headline(self) -> str:
        """The name of the metric by which this task is judged first."""
        return HEADLINES[self.kind]

    def values(self, metric: str) -> list[float | None]:
        """Return a metric of `Evaluation` for each round, None where it is undefined: ready to be plotted."""
        return [getattr(r.evaluation, metric) for r in self.rounds]

    @property
    def bytes_down_per_version(self) -> float | None:
        """Model bytes that a device fetched for each version that it came forward by; None where nobody counted."""
        counted = [r for r in self.rounds if r.versions_advanced is not None]
        versions = sum(r.versions_advanced or 0.0 for r in counted)
        return sum(r.payload_bytes_down for r in counted) / versions if versions else None

    def to_json(self) -> dict[str, Any]:
        """Return the run ready for json.dumps; baselines are there only if they were run."""
        baselines = {"fedavg": self.fedavg, "centralized": self.centralized}
        return {
            "task": self.kind,
            "rounds": [r.to_json(self.kind) for r in self.rounds],
            **{name: _bytes(sum(getattr(r, name) for r in self.rounds)) for name in CARRIED},
            "payload_bytes_down_per_version": None if (each := self.bytes_down_per_version) is None else _bytes(each),
            "final": self.final.to_json(),
            **({} if self.exported is None else {"exported": self.exported.to_json()}),
            **{name: curve.to_json() for name, curve in baselines.items() if curve is not None},
            "devices": {d.device: d.to_json() for d in self.devices},
            "model_digest": self.model_digest,
            "notes": list(self.notes),
        }


def _bytes(mean: float) -> int | float:
    """Return a mean number of bytes, to the tenth where it is no whole number."""
    return int(mean) if mean == int(mean) else round(mean, 1)
