"""What a person asked of a job, checked: rounds, devices, cohorts, and the secure sums that the planner finds."""

from dataclasses import dataclass

from accord.errors import UsageError
from accord.optimisers import STEADY, Schedule
from accord.plan import Graph, Task, Training
from accord.secagg.planner import Choice, Question, choose, tolerated


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
    profile: str
    value_bits: int = 16
    schedule: Schedule = STEADY
    preset: str = "fleet"
    corrupt: float = 0.1  # share of devices that may work with the aggregator
    dropout: float = 0.0  # share that is gone between ROSTER and UNMASK: more are invited for it
    largest_cohort: int = 100
    complete_up_to: int = 100  # members of a cohort in which everyone masks with everyone
    merge: str = "mean"  # of the cohorts' mean changes; or median, trimmed

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
        self.cohort(self.devices_per_round, self.training_cohorts)
        try:  # before anybody has trained for it: its last round asks everybody
            self.cohort(self.devices, self.fewest_cohorts(self.devices), all_there=True)
        except UsageError as error:
            raise UsageError(f"statistics and the last evaluation ask all {self.devices} devices: {error}") from error
        tolerated(self.merge, self.training_cohorts)

    @property
    def training_cohorts(self) -> int:
        """Cohorts of a training round."""
        return max(self.cohorts, self.fewest_cohorts(self.devices_per_round))

    def fewest_cohorts(self, devices: int) -> int:
        """Return how many cohorts so many devices need."""
        return -(-devices // self.largest_cohort)

    @property
    def graph(self) -> Graph:
        """The rule that plans carry."""
        return self._question(self.floor, 1, self.dropout).rule

    def cohort(self, devices: int, cohorts: int, *, all_there: bool = False) -> Choice:
        """Return what one cohort of a round is, with whom to invite beyond its share of `devices`.

        Args:
            devices: wanted in the round.
            cohorts: that they are dealt into.
            all_there: whether everyone who exists is among them, so that nobody else can be invited.

        Raises:
            UsageError: too many would drop out, or a sum would not be safe; the message says what would do.
        """
        return choose(self._question(devices // cohorts, cohorts, 0.0 if all_there else self.dropout))

    def _question(self, devices: int, cohorts: int, dropout: float) -> Question:
        return Question(
            devices=devices,
            corrupt=self.corrupt,
            dropout=dropout,
            preset=self.preset,
            floor=self.floor,
            available=self.devices // cohorts,
            largest=self.largest_cohort,
            complete_up_to=self.complete_up_to,
            value_bits=self.value_bits,
        )
