"""What a person asked of a job, checked: rounds, devices, cohorts, and the secure sums that the planner finds."""

from dataclasses import dataclass, field
from functools import cached_property

from accord.errors import UsageError
from accord.optimisers import STEADY, Schedule
from accord.plan import CLASSIC, HYBRID, KEYS, OFF, STANDARD, STRICT, Graph, Task, Training
from accord.secagg import kem
from accord.secagg.planner import AUTO, Choice, Question, choose, tolerated
from accord.update import compression
from aggregator.releases import RELEASE_BITS, check_bits
from aggregator.update_choice import UpdateChoice


@dataclass(frozen=True, kw_only=True)
class Secured:
    """The profile that a job's plans carry, and why: the end of "profile strict, as ..."."""

    profile: str
    why: str


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What a person asked for."""

    rounds: int
    devices: int  # that exist; statistics and the last evaluation ask all of them
    devices_per_round: int
    cohorts: int
    floor: int
    training: Training
    task: Task
    profile: str  # standard, strict or off; auto is strict where the planner finds it feasible
    value_bits: int = 16
    schedule: Schedule = STEADY
    preset: str = "fleet"
    corrupt: float = 0.1  # share of devices that may work with the aggregator
    dropout: float = 0.0  # share that is gone between ROSTER and UNMASK: more are invited for it
    largest_cohort: int = 100
    complete_up_to: int = 100  # members of a cohort in which everyone masks with everyone
    update: UpdateChoice = field(default_factory=lambda: UpdateChoice(kind="dense", bits=16))  # of training rounds
    merge: str = "mean"  # of the cohorts' mean changes; or median, trimmed
    keys: str = CLASSIC  # or x25519+mlkem768, of which no quantum computer learns a vector, however long it was kept
    release_bits: int = RELEASE_BITS  # of one value of a release's change

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.devices_per_round > self.devices or self.devices_per_round < self.floor:
            raise UsageError(
                f"{self.rounds} rounds with {self.devices_per_round} of {self.devices} devices can't be run: "
                f"at least 1 round and {self.floor} devices are needed",
            )
        if self.cohorts < 1 or self.cohorts * self.floor > self.devices_per_round:
            raise UsageError(
                f"{self.cohorts} cohorts of at least {self.floor} need {self.cohorts * self.floor} devices per round, "
                f"not {self.devices_per_round}",
            )
        if self.update.open:
            check_open(self.update, masked=self.profile != OFF)
        if self.keys not in KEYS:
            raise UsageError(f"keys {self.keys!r} is not one of {', '.join(KEYS)}")
        if self.keys == HYBRID and not kem.available():
            raise UsageError(f"keys {HYBRID} can't be made: {kem.MISSING}")
        self._check(self.secured.profile)
        tolerated(self.merge, self.training_cohorts)
        check_bits(self.release_bits)

    @cached_property
    def secured(self) -> Secured:
        """The profile of all rounds."""
        if self.profile == OFF:
            return Secured(profile=OFF, why="secure_aggregation is false: the aggregator sees each update")
        if self.profile != AUTO:
            return Secured(profile=self.profile, why="it was asked for")
        try:
            choice = self._check(STRICT)
        except UsageError as error:
            return Secured(profile=STANDARD, why=f"strict would not do: {error}")
        spare = choice.invited - max(choice.floor, choice.threshold)
        why = f"it is feasible: a cohort of {choice.invited} closes without {spare} of them"
        return Secured(profile=STRICT, why=why)

    def _check(self, profile: str) -> Choice:
        """Return a training round's cohort in this profile.

        Raises:
            UsageError: it does not hold its bounds, or that of a round that asks everybody does not.
        """
        choice = self._cohort(self.devices_per_round, self.training_cohorts, profile, self.dropout)
        try:  # before anybody has trained for it: its last round asks everybody
            for purpose in ("powers", "evaluate"):
                self._cohort(self.devices, self.cohorts_for(purpose), profile, 0.0)
        except UsageError as error:
            raise UsageError(f"statistics and the last evaluation ask all {self.devices} devices: {error}") from error
        return choice

    @property
    def training_cohorts(self) -> int:
        """Cohorts of a training round."""
        return max(self.cohorts, self.fewest_cohorts(self.devices_per_round))

    def cohorts_for(self, purpose: str) -> int:
        """Return the cohorts of a round: a robust merge has as many for statistics as for changes."""
        if purpose == "train":
            return self.training_cohorts
        fewest = self.fewest_cohorts(self.devices)
        return fewest if purpose == "evaluate" or self.merge == "mean" else max(fewest, self.training_cohorts)

    def fewest_cohorts(self, devices: int) -> int:
        """Return how many cohorts so many devices need."""
        return -(-devices // self.largest_cohort)

    @property
    def graph(self) -> Graph:
        """The rule that plans carry."""
        return self._question(self.floor, 1, STANDARD, self.dropout).rule

    def cohort(self, devices: int, cohorts: int, *, all_there: bool = False) -> Choice:
        """Return what one cohort of a round is, with whom to invite beyond its share of `devices`.

        Args:
            devices: wanted in the round.
            cohorts: that they are dealt into.
            all_there: whether everyone who exists is among them, so that nobody else can be invited.

        Raises:
            UsageError: too many would drop out, or a sum would not be safe; the message says what would do.
        """
        return self._cohort(devices, cohorts, self.secured.profile, 0.0 if all_there else self.dropout)

    def _cohort(self, devices: int, cohorts: int, profile: str, dropout: float) -> Choice:
        largest = -(-devices // cohorts)
        if profile == STRICT and largest > self.complete_up_to:
            raise UsageError(
                f"profile strict needs a complete graph, which ends at complete_up_to = {self.complete_up_to} members, "
                f"and a cohort would have {largest}"
            )
        return choose(self._question(devices // cohorts, cohorts, profile, dropout))

    def _question(self, devices: int, cohorts: int, profile: str, dropout: float) -> Question:
        return Question(
            devices=devices,
            corrupt=self.corrupt,
            dropout=dropout,
            profile=STANDARD if profile == OFF else profile,  # without masks the same thresholds hold
            preset=self.preset,
            floor=self.floor,
            available=self.devices // cohorts,
            largest=self.largest_cohort,
            complete_up_to=self.complete_up_to,
            value_bits=self.value_bits,
        )


def check_open(update: UpdateChoice, *, masked: bool) -> None:
    """Refuse an update of open mode where it can't be.

    Raises:
        UsageError: there are masks, or what compresses it is not here.
    """
    if masked:
        raise UsageError(
            f"with update {update.kind} each device chooses which values it sends, which masks can't add up and would "
            "not hide: put secure_aggregation = false (--secure-aggregation off) if the aggregator may see each "
            "update, or use low-rank:8:4"
        )
    compression.check(update.compression)
