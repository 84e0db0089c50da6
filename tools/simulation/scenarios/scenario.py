"""One scenario of the demo: data, model and defaults. Starts no process and trains nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.signing import SigningKey
from simulation.datasets import Dataset

NAMES = ("fashion", "pretrained", "minilm")

MakeBundle = Callable[[Entropy, SigningKey | None], bytes]
"""(entropy, the publisher's key) -> a bundle's bytes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """Data and model of a demo.

    `said` is what there is to say about the data; `bundle` makes what the fleet trains, and `plain` what the baselines
    train, without masks or processes, with the name of the first one; `before` says that accuracy before training is
    worth showing, since the model knows something already.
    """

    name: str
    model: str
    data: Dataset = field(repr=False)
    said: str
    bundle: MakeBundle = field(repr=False)
    plain: MakeBundle = field(repr=False)
    plain_name: str
    before: bool


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a scenario runs with if nothing else is asked for."""

    devices: int
    rounds: int
    rows: int
    learning_rate: float
    batch_size: int
    test_rows: int = 2_000


DEFAULTS = {
    "fashion": Defaults(devices=12, rounds=10, rows=10_000, learning_rate=0.05, batch_size=32),
    "pretrained": Defaults(devices=8, rounds=3, rows=400, learning_rate=0.01, batch_size=16),
    "minilm": Defaults(devices=8, rounds=4, rows=1_200, learning_rate=0.02, batch_size=16, test_rows=384),
}
ALL = 1_000


def scenario(name: str, *, rows: int, test_rows: int, batch_size: int, devices: int = ALL) -> Scenario:
    """Return a scenario with its data loaded.

    Args:
        name: one of `NAMES`.
        rows: the most training rows.
        test_rows: the most test rows.
        batch_size: rows of one step.
        devices: the most devices, where the data has its own.

    Raises:
        UsageError: the name is unknown, or a package that the scenario needs is not installed.
    """
    if name == "fashion":
        from simulation.scenarios.fashion import fashion  # noqa: PLC0415 - only the scenario that runs is loaded

        return fashion(rows=rows, test_rows=test_rows, batch_size=batch_size)
    if name == "pretrained":
        from simulation.scenarios.pretrained import pretrained  # noqa: PLC0415 - the same

        return pretrained(rows=rows, batch_size=batch_size)
    if name == "minilm":
        from simulation.scenarios.minilm import minilm  # noqa: PLC0415 - the same

        return minilm(rows=rows, test_rows=test_rows, batch_size=batch_size, devices=devices)
    raise UsageError(f"--scenario {name} is unknown: use {' or '.join(NAMES)}")
