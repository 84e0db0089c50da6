"""A training job as a sequence of rounds: masked statistics, training, and a last evaluation. Sans-IO.

Round 1 finds the powers of two that bound each column, round 2 their moments, so that inputs are scaled without anybody
seeing pooled rows; then come the training rounds, whose fixed-point scales follow the last aggregate.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from accord.errors import CodecError, LocalProtocolError
from accord.plan import Fixed, Training, Update, modulus_bits
from accord.prg import digest
from accord.tensors import Layout, Vector
from accord.update import advance
from accord.update.advance import Advance
from accord.update.pipeline import Total
from accord.update.snapshot import Scaling, Snapshot, decode
from accord.wire.secure_sum import TOO_FEW_COHORTS
from aggregator import statistics
from aggregator.advances import Advances
from aggregator.coordinator_values import Closed, Request
from aggregator.job_settings import JobSettings
from aggregator.job_state import JobState
from aggregator.job_step import Step
from aggregator.releases import Releases
from aggregator.scales import Scales
from aggregator.strategies.change import Strategy
from aggregator.supports import Asked, Supports
from aggregator.way_down import way_down

CONSTANT = 2.0**-21
"""A column that deviates by less than this share of its bound is taken for constant: rounding alone makes that much."""
SMALLEST_DEVIATION = 2.0**-120
"""The reciprocal of a smaller one is past float32."""


class Job:
    """The rounds of one job, in order.

    Args:
        settings: what was asked for.
        layout: the model's trainable tensors.
        exponents: the first scales, one per tensor, from the bundle.
        snapshot: the model to start from.
        columns: input columns, features or channels.
        strategy: how cohort means move the model.
        statistics: whether masked statistics come first; without them `largest_weight` is given.
        scaled: whether inputs are scaled by them; the model of a bundle that takes rows as they are wants them so.
        largest_weight: the number of rows from which a device weighs no more.
    """

    def __init__(
        self,
        *,
        settings: JobSettings,
        layout: Layout,
        exponents: Sequence[int],
        snapshot: Snapshot,
        columns: int,
        strategy: Strategy,
        statistics: bool = True,
        scaled: bool = True,
        largest_weight: int = 1,
    ) -> None:
        self.settings, self.snapshot = settings, snapshot
        self.task = settings.task
        self.largest_weight = largest_weight
        self._layout, self._strategy = layout, strategy
        self._scales = Scales(exponents)
        self._supports = Supports(settings.update, layout, exponents)
        self.releases = Releases(layout, settings.release_bits)
        self.advances = Advances(layout)
        self._regression = settings.task.kind == "regression"
        self._columns = columns
        self._counted = columns if scaled else 0
        self._statistics = self._counted + 2 * self._regression
        self._powers: tuple[int, ...] = ()
        before = ["powers", "moments"] if self._statistics else ["powers"]  # which counts rows, too
        before = before if statistics else []
        self._purposes = [*before, *["train"] * settings.rounds, "evaluate"]
        self._done = self._line = 0

    @property
    def layout(self) -> Layout:
        """The model's trainable tensors."""
        return self._layout

    @property
    def purpose(self) -> str | None:
        """What the next round is for, or None at the end."""
        return self._purposes[self._done] if self._done < len(self._purposes) else None

    def request(self) -> Request | None:
        """Return the next round, or None at the end."""
        purpose, settings = self.purpose, self.settings
        if purpose is None:
            return None
        training = purpose == "train"
        wanted = settings.devices_per_round if training else settings.devices
        cohorts = settings.cohorts_for(purpose)
        choice = settings.cohort(wanted, cohorts, all_there=not training)
        devices = max(wanted, cohorts * choice.invited)
        largest = max(choice.cap, -(-devices // cohorts))
        asked = self._asked() if training else Asked(update=Update(), bits=settings.value_bits)
        fixed = Fixed(
            value_bits=asked.bits,
            modulus_bits=modulus_bits(asked.bits, largest),
            exponents=self._scales.exponents if training else self._powers if purpose == "moments" else (),
            largest_weight=self.largest_weight,
        )
        return Request(
            purpose=purpose,
            devices=devices,
            cohorts=cohorts,
            floor=settings.floor,
            training=self._training() if training else settings.training,
            fixed=fixed,
            task=self.task,
            length={"train": self._layout.size, "evaluate": 0}.get(purpose, self._statistics),
            profile=settings.secured.profile,
            keys=settings.keys,
            cap=largest,
            fewest_cohorts=self._strategy.fewest_cohorts if training else 1,
            graph=settings.graph,
            waits_for_all=settings.preset == "sites",
            update=asked.update,
            support=asked.support,
        )

    def _asked(self) -> Asked:
        return self._supports.next(digest(self.snapshot.encode()), self._line)

    def _training(self) -> Training:
        """Return how devices train in this round: a round that gave no sum counts, too."""
        training, rounds = self.settings.training, self.settings.rounds
        number = self._done - self._purposes.index("train")
        rate = self.settings.schedule.rate(training.learning_rate, number, rounds)
        return dataclasses.replace(training, learning_rate=rate)

    def skip(self) -> None:
        """Go on after a training round that gave no sum: the model stays as it is."""
        if self.purpose != "train":
            raise LocalProtocolError("only a training round can be skipped")
        self._done += 1

    def state(self, *, number: int, transcript: bytes, version: int) -> JobState:
        """Return where the job stands.

        Args:
            number: the coordinator's last round.
            transcript: the coordinator's.
            version: the model's.
        """
        return JobState(
            form=4,
            done=self._done,
            exponents=self._scales.exponents,
            offset=self._scales.offset,
            support=self._supports.state(),
            powers=self._powers,
            largest_weight=self.largest_weight,
            task=self.task,
            round=number,
            transcript=transcript,
            version=version,
            line=self._line,
            params=digest(self.snapshot.encode()),
            grid=self.releases.grid,
            residual=digest(residual) if (residual := self.releases.residual) else b"",
            advances=self.advances.kept,
        )

    @property
    def beside(self) -> Mapping[bytes, bytes]:
        """What the job's state names beside the model, by digest."""
        residual = self.releases.residual
        return ({digest(residual): residual} if residual else {}) | self.advances.data

    def restore(self, state: JobState, params: bytes, beside: Mapping[bytes, bytes]) -> None:
        """Go on from where the job stood.

        Args:
            state: from `state`.
            params: the snapshot that it names.
            beside: all else that it names, by digest; the chain of advances begins behind one that is gone.

        Raises:
            CodecError: they are another job's or another model's.
        """
        if state.done > len(self._purposes) or len(state.exponents) != len(self._layout.tensors):
            raise CodecError("the state that was kept is another job's")
        self.releases.restore(state.grid, beside[state.residual] if state.residual else b"")
        self.advances.restore(state.advances, beside, state.params)
        self.snapshot = decode(params, self._layout, self._columns)
        self._done, self._line, self._powers = state.done, state.line, state.powers
        self._scales.exponents, self._scales.offset = state.exponents, state.offset
        self._supports.restore(state.support)
        self.largest_weight, self.task = state.largest_weight, state.task

    def closed(self, closed: Closed) -> Step:
        """Take a closed round and return what it changed; the job moves on to the next round."""
        purpose = self.purpose
        if purpose is None:
            raise LocalProtocolError("the job has no round left to close")
        figures = summed(closed.totals)
        if purpose in ("powers", "moments"):
            return self._counted_rows(closed, figures)
        self._done += 1
        if purpose == "evaluate":
            return Step(purpose=purpose, figures=figures)
        means = [total.mean for total in closed.totals if total.mean is not None]
        if len(means) < self._strategy.fewest_cohorts:
            return Step(purpose=purpose, figures=figures, reason=TOO_FEW_COHORTS)
        return self._moved(closed, means, figures)

    def _moved(self, closed: Closed, means: Sequence[Vector], figures: Mapping[str, list[float]]) -> Step:
        """Move the model by what a training round gave, and fit the next round's form to it."""
        included = max(1, len(closed.included))
        change = self._strategy.change(means, [total.weight for total in closed.totals])
        asked = self._asked()
        coordinates = self._supports.coordinates(asked)
        cut = self._strategy.typical([total.saturated for total in closed.totals]) * len(closed.totals)
        share = cut / (self._supports.sent(asked) * included)
        params, found = self.releases.after(self.snapshot.params, change.vector, coordinates)
        alone = included if asked.update.open else 1
        doubled = self._scales.follow(asked.bits, change.vector, coordinates.spans, share, alone=alone)
        scores = np.array([total.scores for total in closed.totals], np.float32)
        merged = scores.sum(axis=0) if self.settings.merge == "mean" else np.median(scores, axis=0) * len(scores)
        self._supports.took(
            asked, change.vector, merged.astype(np.float32), included=included, devices=self.settings.devices
        )
        self._release(dataclasses.replace(self.snapshot, params=params), found)
        return Step(
            purpose="train",
            figures=figures,
            snapshot=self.snapshot,
            saturated=share,
            doubled=doubled,
            shortened=tuple(closed.cohorts[place].name for place in change.shortened),
            way_down=way_down(found, self._layout),
        )

    def _release(self, snapshot: Snapshot, found: Advance | None) -> None:
        """Make this the newest version, and keep what leads there."""
        before, self.snapshot = self.snapshot, snapshot
        self.advances.add(digest(before.encode()), digest(snapshot.encode()), found)

    def _counted_rows(self, closed: Closed, figures: Mapping[str, list[float]]) -> Step:
        """Take the figures of a statistics round, of the cohorts that can be believed."""
        purpose = self._purposes[self._done]
        sizes = [root.survivors for root in closed.cohorts] or [b""] * len(closed.totals)
        believed = [
            total
            for total, survivors in zip(closed.totals, sizes, strict=True)
            if statistics.plausible(total.figures, purpose, _members(survivors))
        ]
        left_out = len(closed.totals) - len(believed)
        if len(believed) < self._strategy.fewest_cohorts:
            reason = "ImplausibleStatistics" if left_out else TOO_FEW_COHORTS
            return Step(purpose=purpose, figures=figures, reason=reason, left_out=left_out)
        self._done += 1
        robust = self._strategy.fewest_cohorts > 1
        groups = [total.figures for total in believed] if robust else [summed(believed)]
        if purpose == "powers":
            self._powers, self.largest_weight = statistics.bounded(groups, self._statistics)
            return Step(purpose=purpose, figures=figures, left_out=left_out)
        scaling = self._scaling(statistics.moments(groups))
        still = advance.between(self.snapshot.params, self.snapshot.params, self._layout)
        self._release(dataclasses.replace(self.snapshot, scaling=scaling), still)
        return Step(purpose=purpose, figures=figures, snapshot=self.snapshot, left_out=left_out)

    def _scaling(self, found: statistics.Moments) -> Scaling:
        units = np.ldexp(1.0, np.array(self._powers))
        deviation, mean = np.sqrt(found.variance) * units, found.mean * units
        varies = (deviation > CONSTANT * units) & (deviation > SMALLEST_DEVIATION)
        safe = np.where(varies, deviation, 1.0)
        columns = self._counted
        if self._regression:
            self.task = dataclasses.replace(self.task, target_exponent=math.frexp(float(safe[-1]))[1])
        target = (float(mean[columns]), float(safe[columns])) if self._regression else (0.0, 1.0)
        return Scaling(
            mean=mean[:columns].astype(np.float32) if columns else np.zeros(self._columns, np.float32),
            factor=(1 / safe[:columns]).astype(np.float32) if columns else np.ones(self._columns, np.float32),
            target_mean=target[0],
            target_scale=target[1],
        )


def _members(survivors: bytes) -> int | None:
    """Return how many devices a bitmap names, or None where there is none."""
    return sum(byte.bit_count() for byte in survivors) or None


def summed(totals: Sequence[Total]) -> dict[str, list[float]]:
    """Return the figures of several cohorts, added."""
    names = totals[0].figures.keys()
    return {name: [sum(parts) for parts in zip(*(t.figures[name] for t in totals), strict=True)] for name in names}
