"""What a person asks of the demo: every option with its default, checked before anything is loaded or started."""

from dataclasses import dataclass, field
from pathlib import Path

from accord.errors import UsageError
from accord.plan import CLASSIC, HYBRID, KEYS, STANDARD
from accord.secagg import kem
from aggregator.update_choice import UpdateChoice

FLOOR = 3
ROWS_PER_DEVICE, ALL_ROWS = 10, 60_000
"""Of Fashion-MNIST: fewer than this many for each device teach nothing."""


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """The options of the demo, with its defaults."""

    scenario: str = "fashion"
    devices: int = 12
    rounds: int = 10
    broker: str = "embedded"
    rows: int = 10_000
    test_rows: int = 2_000
    partition: str = "dirichlet:0.3"
    seed: int = 0
    learning_rate: float = 0.05
    momentum: float = 0.9
    optimiser: str = "sgd"
    batch_size: int = 32
    epochs: int = 1
    update: str = "dense:16"  # ten rounds are over before a basis has followed the sums
    profile: str = STANDARD
    keys: str = CLASSIC
    chaos: bool = True
    tls: bool = True
    state: Path = field(default_factory=lambda: Path("demo-state"))

    def __post_init__(self) -> None:
        if not FLOOR <= self.devices <= 100:
            raise UsageError(f"--devices {self.devices} is out of range: use {FLOOR} to 100")
        if not 1 <= self.rounds <= 10_000:
            raise UsageError(f"--rounds {self.rounds} is out of range: use 1 to 10000")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"--lr {self.learning_rate} is out of range: use more than 0")
        if not ROWS_PER_DEVICE * self.devices <= self.rows <= ALL_ROWS:
            raise UsageError(
                f"--rows {self.rows} is out of range: {self.devices} devices use {ROWS_PER_DEVICE * self.devices} to "
                f"{ALL_ROWS} of them"
            )
        try:
            update = UpdateChoice.parse(self.update)
        except UsageError as error:
            raise UsageError(f"--{error}") from error
        if update.open:
            raise UsageError(
                f"--update {self.update} needs an aggregator that sees each update, and the demo has masks on: use "
                "low-rank:8:4 here, or accord simulate --secure-aggregation off"
            )
        if self.keys not in KEYS:
            raise UsageError(f"--keys {self.keys} is unknown: use {' or '.join(KEYS)}")
        if self.keys == HYBRID and not kem.available():
            raise UsageError(f"--keys {HYBRID} can't be made: {kem.MISSING}")
