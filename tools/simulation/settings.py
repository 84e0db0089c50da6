"""What a person asks `simulate` for: every option with its default, checked before anything is loaded."""

from dataclasses import dataclass, fields
from typing import Any

from accord.errors import UsageError
from accord.optimisers import SCHEDULES, Schedule
from accord.plan import CLASSIC, KEYS, MICRO, OFF, OPTIMISERS, PICO, STANDARD, STRICT
from accord.plan import Task as PlanTask
from accord.plan import Training as PlanTraining
from accord.runtimes.opening import NAMES as RUNTIMES
from accord.secagg.planner import AUTO, PROFILES, Question, propose, tolerated
from aggregator.job_settings import JobSettings, Secured, check_open
from aggregator.releases import FEWEST_BITS, MOST_BITS, RELEASE_BITS
from aggregator.update_choice import AUTO as FEEDBACK
from aggregator.update_choice import DEFAULT, UpdateChoice
from simulation.task import KINDS

TRANSFORMS = ("none", "log", "log1p")
TIERS = ("float", "last-all", "int8")
"""Of models that are made here; a bundle brings its own."""
LARGEST = Question.largest
"""Devices of one cohort."""


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """The options of one simulation, with the command line's defaults.

    Raises:
        UsageError: an option is out of its range; the message names it.
    """

    data: str
    devices: int = 10
    partition: str = "iid"
    model: str = "mlp:64"
    tier: str = "float"
    task: str | None = None
    target_transform: str = "none"
    rounds: int = 60
    devices_per_round: int = 12
    cohorts: int = 1
    merge: str = "mean"
    release_bits: int = RELEASE_BITS
    local_epochs: int = 2
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.0
    proximal_mu: float = 0.0
    optimiser: str = "sgd"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    warmup_steps: int = 0
    schedule: str = "constant"
    decay_every: int = 10
    decay_factor: float = 0.1
    dropout: float = 0.0
    secure_aggregation: bool = True
    profile: str = STANDARD
    keys: str = CLASSIC
    update: str = DEFAULT
    feedback: str = FEEDBACK
    max_participations: int = 0
    runtimes: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        whole = (
            ("--devices", self.devices, 3, 100_000),
            ("--rounds", self.rounds, 1, 1_000_000),
            ("--devices-per-round", self.devices_per_round, 3, 100_000),
            ("--max-participations", self.max_participations, 0, 1_000_000),
            ("--cohorts", self.cohorts, 1, 10_000),
            ("--release-bits", self.release_bits, FEWEST_BITS, MOST_BITS),
            ("--local-epochs", self.local_epochs, 1, 10_000),
            ("--batch-size", self.batch_size, 1, 65_536),
            ("--warmup-steps", self.warmup_steps, 0, 1_000_000),
            ("--decay-every", self.decay_every, 1, 1_000_000),
        )
        for name, value, low, high in whole:
            if not low <= value <= high:
                raise UsageError(f"{name} {value} is out of range: use {low} to {high}")
        wanted, most = self.rounds * min(self.devices, self.devices_per_round), self.devices * self.max_participations
        if 0 < most < wanted:
            raise UsageError(
                f"--max-participations {self.max_participations} of {self.devices} devices gives {most}, and "
                f"{self.rounds} rounds of {min(self.devices, self.devices_per_round)} need {wanted}"
            )
        update = UpdateChoice.parse(self.update, self.feedback)
        if update.open:
            check_open(update, masked=self.secure_aggregation)
        tolerated(self.merge, self.cohorts)
        self._check_words()
        self._check_rates()
        if not 0 <= self.dropout < 1:
            more = ": with 1 no device would ever finish" if self.dropout == 1 else ""
            raise UsageError(f"--dropout {self.dropout} is out of range{more}: use 0 to below 1, such as 0.2")
        if self.cohorts * 3 > self.devices_per_round:
            raise UsageError(
                f"--cohorts {self.cohorts} needs at least {3 * self.cohorts} devices per round, "
                f"not {self.devices_per_round}",
            )

    def _check_rates(self) -> None:
        rates = (
            ("--lr", self.lr, 1e-6, 1000.0),
            ("--momentum", self.momentum, 0.0, 0.999999),
            ("--proximal-mu", self.proximal_mu, 0.0, 1000.0),
            ("--beta1", self.beta1, 0.0, 0.999999),
            ("--beta2", self.beta2, 0.0, 0.999999),
            ("--epsilon", self.epsilon, 1e-12, 1.0),
            ("--weight-decay", self.weight_decay, 0.0, 1000.0),
            ("--clip-norm", self.clip_norm, 0.0, 1e6),
            ("--decay-factor", self.decay_factor, 1e-6, 1.0),
        )
        for name, rate, lowest, highest in rates:
            if not lowest <= rate <= highest:
                raise UsageError(f"{name} {rate} is out of range: use {lowest:g} to {highest:g}")
        if self.optimiser == "nesterov" and not self.momentum:
            raise UsageError("--optimiser nesterov without --momentum is sgd: give one, such as --momentum 0.9")
        if self.optimiser in ("adam", "adamw") and self.momentum:
            raise UsageError(f"--momentum is for sgd and nesterov: use --beta1 with --optimiser {self.optimiser}")

    def _check_words(self) -> None:
        for name, word, words in (
            ("--optimiser", self.optimiser, OPTIMISERS),
            ("--schedule", self.schedule, SCHEDULES),
            ("--profile", self.profile, (AUTO, *PROFILES)),
            ("--keys", self.keys, KEYS),
        ):
            if word not in words:
                raise UsageError(f"{name} {word} is unknown: use one of {', '.join(words)}")
        if self.profile == STRICT and not self.secure_aggregation:
            raise UsageError("--profile strict needs masks: leave --secure-aggregation on")
        if self.task is not None and self.task not in KINDS:
            raise UsageError(f"--task {self.task} is unknown: use one of {', '.join(KINDS)}")
        if self.target_transform not in TRANSFORMS:
            raise UsageError(f"--target-transform {self.target_transform} is unknown: use {', '.join(TRANSFORMS)}")
        if self.tier not in TIERS:
            raise UsageError(f"--tier {self.tier} is unknown: use {', '.join(TIERS)}, or a bundle of another tier")
        unknown = [name for name in self.runtimes.split(",") if name not in RUNTIMES]
        if unknown:
            raise UsageError(f"--runtimes: {unknown[0]!r} is unknown: use some of {', '.join(RUNTIMES)}")

    def secured(self, devices_per_round: int) -> Secured:
        """Return the profile of a simulation with so many devices per round, and why it is this one."""
        if not self.secure_aggregation or self.profile != AUTO:
            return Secured(profile=self.profile if self.secure_aggregation else OFF, why="it was asked for")
        cohorts = max(self.cohorts, -(-devices_per_round // LARGEST))
        size = devices_per_round // cohorts
        try:
            proposal = propose(Question(devices=size, floor=3, available=size, dropout=self.dropout), AUTO)
        except UsageError as error:  # not even standard keeps its bounds: the rounds that abort are what is to be seen
            return Secured(profile=STANDARD, why=f"strict would not do: {error}")
        return Secured(profile=proposal.choice.question.profile, why=proposal.why)

    def job(self, *, devices: int, per_round: int, floor: int, profile: str, task: PlanTask) -> JobSettings:
        """Return what a job of these settings asks for.

        Args:
            devices: that there are.
            per_round: of them in a training round.
            floor: of a cohort.
            profile: as `secured` has it.
            task: what is learned.
        """
        return JobSettings(
            rounds=self.rounds,
            devices=devices,
            devices_per_round=per_round,
            cohorts=self.cohorts,
            floor=floor,
            training=self.training,
            task=task,
            profile=profile,
            keys=self.keys,
            schedule=self.rates,
            merge=self.merge,
            release_bits=self.release_bits,
            update=UpdateChoice.parse(self.update, self.feedback),
        )

    @property
    def training(self) -> PlanTraining:
        """How devices train, as the plan says it."""
        return PlanTraining(
            epochs=self.local_epochs,
            batch_size=self.batch_size,
            learning_rate=round(self.lr * MICRO),
            momentum=round(self.momentum * MICRO),
            proximal=round(self.proximal_mu * MICRO),
            optimiser=self.optimiser,
            beta1=round(self.beta1 * MICRO),
            beta2=round(self.beta2 * MICRO),
            epsilon=round(self.epsilon * PICO),
            weight_decay=round(self.weight_decay * MICRO),
            clip_norm=round(self.clip_norm * MICRO),
            warmup_steps=self.warmup_steps,
        )

    @property
    def rates(self) -> Schedule:
        """How the learning rate changes over the rounds."""
        return Schedule(kind=self.schedule, decay_every=self.decay_every, decay_factor=self.decay_factor)


def checked(**options: object) -> SimulationSettings:
    """Return the settings that `options` ask for, by the names of the fields; "on" and "off" are True and False.

    Raises:
        UsageError: an option is unknown, of another type, or out of its range.
    """
    known = {field.name: field.type for field in fields(SimulationSettings)}
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"option {name!r} is unknown: use {', '.join(list(known)[1:])}")
        if name == "secure_aggregation" and value in ("on", "off"):
            options[name] = value == "on"
        elif not isinstance(value, _TYPES[known[name]][0]) or (isinstance(value, bool) and known[name] is not bool):
            raise UsageError(f"option {name} is {value!r}: give {_TYPES[known[name]][1]}")
    return SimulationSettings(**options)  # type: ignore[arg-type]


_TYPES: dict[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "text"),
    bool: (bool, "True or False"),
    str | None: ((str, type(None)), "text, or None"),
}
