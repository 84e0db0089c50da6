"""A fleet on a link that drops, doubles, reorders and delays: each round is checked to the last device, or its name."""

from collections import Counter

import numpy as np

from accord.entropy import SeededEntropy
from accord.link.memory import Faults
from accord.plan import Fixed, Plan, Task, Training, modulus_bits
from accord.tensors import Layout
from accord.update.pipeline import Contribution
from aggregator.coordinator_values import Closed, Request
from simulation.fleet import SimulatedFleet

LAYOUT = Layout((("w", (5, 3)), ("b", (3,))))
FIXED = Fixed(value_bits=16, modulus_bits=modulus_bits(16, 8), exponents=(0, 0), largest_weight=100)
NAMES = tuple(f"dev-{i}" for i in range(8))
ABORTS = {"TooFewDevices", "TooFewShares", "TooFewVectors", "TooFewAnswers"}
REFUSALS = {
    "OutOfOrder",
    "OldRound",
    "ForeignPlan",
    "WrongContext",
    "StaleNonce",
    "RosterChanged",
    "SharesChanged",
    "AnsweredBefore",
}
"""What honest devices refuse on a bad link: what comes late, again or in another order; never a lie."""


class Worker:
    """Contributes what tells who was summed, and how often: a count of 16 to the power of its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.delta = np.random.default_rng(number).uniform(-0.5, 0.5, LAYOUT.size).astype(np.float32)

    def work(self, plan: Plan, params: bytes) -> Contribution:
        return Contribution(
            rows=10 + self.number,
            delta=self.delta,
            figures={"count": 16**self.number, "loss": 0.5, "correct": 1},
        )


class BadLink:
    """One fleet of eight devices; `rounds` plays and checks, `ended` counts how rounds and attempts ended."""

    def __init__(self, seed: int, faults: Faults | None, *, dropout: float = 0.0, cohorts: int = 1) -> None:
        self.workers = {name: Worker(i) for i, name in enumerate(NAMES)}
        self.cohorts = cohorts
        self.ended: Counter[str] = Counter()
        self.fleet = SimulatedFleet(
            workers=self.workers,
            layout=LAYOUT,
            params=np.zeros(LAYOUT.size, "<f4").tobytes(),
            bundle=b"bundle",
            entropy=SeededEntropy(seed),
            faults=faults,
            dropout=dropout,
        )

    def request(self, profile: str) -> Request:
        return Request(
            purpose="train",
            devices=len(NAMES),
            cohorts=self.cohorts,
            floor=3,
            cap=len(NAMES),
            training=Training(epochs=1, batch_size=1, learning_rate=0, momentum=0, proximal=0),
            fixed=FIXED,
            task=Task(kind="classification", outputs=2, target_exponent=0, transform="none"),
            length=LAYOUT.size,
            profile=profile,
        )

    def rounds(self, count: int, profile: str) -> "BadLink":
        """Play rounds; a wrong sum, a device counted twice, or an end without a name raises AssertionError."""
        counted: Counter[str] = Counter()
        for number in range(count):
            attempted = self.fleet.round(self.request(profile), NAMES, dropouts=True)
            closed, aborted = attempted.closed, attempted.aborted
            assert {a.reason for a in aborted} <= ABORTS, aborted
            self.ended.update(a.reason for a in aborted)
            if closed is None:
                assert [a.attempt for a in aborted] == [1, 2, 3]
                assert aborted[-1].final
                self.ended["given up"] += 1
            else:
                assert closed.round == number + 1
                assert [a.attempt for a in aborted] == list(range(1, closed.attempt))
                self.check(closed)
                counted.update(closed.included)
                self.ended["exact"] += 1
        for name, device in self.fleet.devices.items():
            assert device.participations <= counted[name], f"{name} was told that it is in sums that it is not in"
            assert {r.reason for r in device.refusals} <= REFUSALS, (name, device.refusals)
        return self

    def check(self, closed: Closed) -> None:
        assert len(set(closed.included)) == len(closed.included) >= 3
        assert not set(closed.included) & set(closed.dropped)
        numbers = [self.workers[name].number for name in closed.included]
        assert sum(t.figures["count"][0] for t in closed.totals) == sum(16**n for n in numbers), closed.included
        assert sum(t.figures["correct"][0] for t in closed.totals) == len(numbers)
        rows = [10 + n for n in numbers]
        assert sum(t.weight for t in closed.totals) == sum(rows)
        means = [t.mean for t in closed.totals if t.mean is not None]
        found = np.average(means, axis=0, weights=[t.weight for t in closed.totals])
        expected = np.average([self.workers[name].delta for name in closed.included], axis=0, weights=rows)
        step = 2.0 ** FIXED.exponents[0] / 32767  # each device rounds by less than one step
        assert np.abs(found - expected).max() <= len(rows) * step * FIXED.largest_weight / sum(rows) + 1e-6
